"""How a command line tells its user what is wrong: one sentence, no traceback, exit code 2.

What is said may hold names of files and labels, which are other people's: `visible` is for all that is printed.

Every command imports this before it reads its arguments, so it imports nothing that takes time.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class RefusedError(RuntimeError):
    """What is asked is right but cannot be done now; the message says what is in the way."""


class DamagedError(ValueError):
    """A file of raytag's own does not hold what was written; the message names it and says what to do."""


#: Control characters but line ends and tabs, and bytes of file names that are no UTF-8: no terminal gets them.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Text with its control characters written out, such as ``\x1b``: a terminal shows them and obeys none."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextmanager
def explain_errors() -> Iterator[None]:
    """Turn errors that a user can mend into ``error: …`` on stderr and exit code 2.

    ``RAYTAG_TRACEBACK=1`` shows the whole traceback instead.
    """
    try:
        yield
    except (ValueError, FileNotFoundError, RefusedError) as error:
        if os.environ.get("RAYTAG_TRACEBACK") == "1":
            raise
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(2)
