"""Recordings to features: reading clips, what is cached of them (`sets`), the cache that Ray Data builds, the bank.

Imports of raytag `raytag.datasets.table`, `raytag.datasets.containers`, `raytag.store.files`, `raytag.cluster`,
`raytag.compiled` and the ground floor. Of its modules `cache` alone may import Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raytag.features.bank import SCALE, Bank
    from raytag.features.decoding import UnusableClip
    from raytag.features.logmel import LogMel
    from raytag.features.sets.logmels import LogMels, extract
    from raytag.features.sets.waveforms import Waveforms
    from raytag.features.waveform import read_waveform

__all__ = ["SCALE", "Bank", "LogMel", "LogMels", "UnusableClip", "Waveforms", "extract", "read_waveform"]

_HOMES = {
    "SCALE": "bank",
    "Bank": "bank",
    "LogMel": "logmel",
    "LogMels": "sets.logmels",
    "UnusableClip": "decoding",
    "Waveforms": "sets.waveforms",
    "extract": "sets.logmels",
    "read_waveform": "waveform",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: an experiment is read without kernels."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
