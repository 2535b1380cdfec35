"""The ensemble search: from the predictions of runs to an ensemble with its honest score.

A line of rooms, of which each may import those before it: `predictions`, `choose`, `stackers`, `assess`; then
`kept`, `stored`, `pipeline`, `files` and `command`. Imports of raytag whatever lies below but `raytag.search`; Ray
by way of `raytag.cluster`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raytag.blends.subsets import search_subsets

__all__ = ["search_subsets"]


def __getattr__(name: str) -> Any:
    if name != "search_subsets":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from raytag.blends.subsets import search_subsets  # numba takes time, which --help has not

    return search_subsets
