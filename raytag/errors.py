"""How a command line tells its user what is wrong: one sentence, no traceback, exit code 2.

Every command imports this before it reads its arguments, so it imports nothing that takes time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class RefusedError(RuntimeError):
    """What is asked is right but cannot be done now; the message says what is in the way."""


class DamagedError(ValueError):
    """A file of raytag's own does not hold what was written; the message names it and says what to do."""


class NoRoomError(OSError):
    """A folder of raytag's own cannot be written to: its disk is full, or read-only; the message names it."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def explain_errors() -> Iterator[None]:
    """Turn errors that a user can mend into ``error: …`` on stderr and exit code 2.

    ``RAYTAG_TRACEBACK=1`` shows the whole traceback instead.
    """
    try:
        yield
    except (ValueError, FileNotFoundError, NoRoomError, RefusedError) as error:
        if os.environ.get("RAYTAG_TRACEBACK") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
