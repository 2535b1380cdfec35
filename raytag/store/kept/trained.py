"""Which clips models were trained on: sets of clips, each kept once.

Hundreds of models share a few sets, so the result of each names its own by the digest of the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from raytag.errors import DamagedError
from raytag.store.digest import digest
from raytag.store.files import Storage


def keep_clips(storage: Storage, clips: Collection[str]) -> str:
    """Put a set of clip ids into a run unless it is there whole; the name by which `clips_of` finds it."""
    data = json.dumps(sorted(clips), indent=0).encode()
    name = digest(data)
    try:
        clips_of(storage, name)
    except DamagedError:
        storage.write(_place(name), data)
    return name


def clips_of(storage: Storage, name: str) -> frozenset[str]:
    """A set of clip ids that a run keeps; a `DamagedError` where it is gone or not what was written."""
    try:
        return frozenset(json.loads(storage.read(_place(name), {"digest": name})))
    except FileNotFoundError:
        raise DamagedError(f"{storage.where(_place(name))} is gone") from None


def _place(name: str) -> str:
    return f"trained/{name}.json"
