"""``python -m raytag``: the command ``raytag`` where it is not installed."""

import sys

from raytag.cli import main

sys.exit(main())
