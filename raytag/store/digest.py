"""What a file of raytag's own held when it was written: a digest beside it, compared when it is read.

Disks, memory and networks flip bits, copies end early, recordings are replaced by mistake; nobody is expected to
forge a file. So the digest need not be cryptographic: those took a third of the time of a clip in the cache build.

A JSON file holds its own digest (`seal`); that of any other file stands in a JSON file beside it. What was written
before there were digests has none, and is read as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from typing_extensions import Buffer

KEY = "digest"
_KIND = "xxh3-"


def digest(data: Buffer) -> str:
    """``xxh3-`` and 32 hexadecimal digits over the bytes of ``data``."""
    return _KIND + xxhash.xxh3_128_hexdigest(data)


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with a last entry ``digest`` over the others, whatever the order and blanks of its text."""
    return {**value, KEY: _of_json(value)}


def unseal(value: Any) -> tuple[Any, bool]:
    """The object without its digest, and whether it is what was sealed.

    What was written before there were digests is as it is; it holds no digest under any name.
    """
    if not isinstance(value, dict) or KEY not in value:
        return value, _KIND not in json.dumps(value)
    content = {k: v for k, v in value.items() if k != KEY}
    return content, value[KEY] == _of_json(content)


def _of_json(value: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(value))  # keys that are no text become it
    return digest(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
