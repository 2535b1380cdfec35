"""What a file of raytag's own held when it was written: a digest beside it, compared when it is read.

Disks, memory and networks flip bits, copies end early, recordings are replaced by mistake; nobody is expected to
forge a file. So the digest need not be cryptographic: those took a third of the time of a clip in the cache build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from typing_extensions import Buffer


def digest(data: Buffer) -> str:
    """``xxh3-`` and 32 hexadecimal digits over the bytes of ``data``."""
    return "xxh3-" + xxhash.xxh3_128_hexdigest(data)
