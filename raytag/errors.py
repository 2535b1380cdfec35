"""How a command line ends when it does not end well: one sentence, no traceback, no secret.

What is said may hold names of files and labels, which are other people's: `visible` is for all that is printed.

Every command imports this before it reads its arguments, so it imports nothing that takes time.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from raytag.signals import exit_code, interruptible

_SECRET = r"(?:key|secret|token|password|passwd|sig|credential)"
#: USER:PASSWORD@ after a scheme; a password as people paste it may hold slashes.
_LOGIN = re.compile(r"([A-Za-z][\w+.-]*:/{1,3})[^\s'\"@:/]*(?::[^\s'\"]*)?@")
_QUERY = re.compile(rf"([?&][\w.-]*{_SECRET}[\w.-]*=)[^\s'\"&#]+", re.IGNORECASE)
_VARIABLE = re.compile(rf"{_SECRET}(?:_ID)?$", re.IGNORECASE)
_SHORTEST = 8  # letters of a variable's value that is looked for, which is no path: others would blot out words


class RefusedError(RuntimeError):
    """What is asked is right but cannot be done now; the message says what is in the way."""


class DamagedError(ValueError):
    """A file of raytag's own that does not hold what was written; the message names it and says what to do."""


def redacted(text: str) -> str:
    """A text without the secrets of URIs and of the environment: what is said or stored goes through here.

    They are logins (``s3://key:secret@bucket``), parameters that are called so (``?secret_key=…``), and values of
    variables that are (``AWS_SECRET_ACCESS_KEY``).
    """
    text = _QUERY.sub(r"\1***", _LOGIN.sub(r"\1***@", text))
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value[0] != "/" and value in text and _VARIABLE.search(name):
            text = text.replace(value, "***")
    return text


def this_command() -> str:
    """How to give this process's command again."""
    script, *rest = sys.argv
    own = os.path.basename(script) in ("raytag", "raytag.exe", "__main__.py")
    return redacted(shlex.join(["raytag", *rest] if own else ["python", script, *rest]))


class NoRoomError(OSError):
    """A folder of raytag's own cannot be written to: its disk is full, or read-only; the message names it."""

    def __str__(self) -> str:
        return str(self.strerror)


#: Control characters but line ends and tabs, and bytes of file names that are no UTF-8: no terminal gets them.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Text with its control characters written out, such as ``\x1b``: a terminal shows them and obeys none."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextmanager
def explain_errors(kept: str = "") -> Iterator[None]:
    """Turn errors that a user can mend into ``error: …`` on stderr and exit code 2, and signals into a last word.

    ``RAYTAG_TRACEBACK=1`` shows the whole traceback of an error instead.

    Parameters
    ----------
    kept : str
        What SIGINT, SIGTERM and SIGHUP leave; their exit code is 128 and their number.
    """
    with interruptible():
        try:
            yield
        except KeyboardInterrupt:
            _last_word("interrupted" + f": {kept}; continue with: {this_command()}" * bool(kept))
            sys.exit(exit_code())
        except (ValueError, OSError, RefusedError) as error:
            if os.environ.get("RAYTAG_TRACEBACK") == "1":
                raise
            _last_word(f"error: {error}")
            sys.exit(2)


def _last_word(words: str) -> None:
    try:
        print(visible(redacted(words)), file=sys.stderr, flush=True)
    except OSError:
        let_go(sys.stderr)


def let_go(stream: TextIO) -> None:
    """Let a stream whose reader has left lead nowhere: what it still holds would fail again when Python ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
