"""The ensemble search: from the predictions of runs to an ensemble with its honest score.

A line of rooms, of which each may import those before it: `predictions`, `choose`, `stackers`, `assess`; then
`pipeline`, `files` and `command`. Imports of raytag whatever lies below but `raytag.search`; Ray by way of
`raytag.cluster`.
"""

from raytag.blends.subsets import search_subsets

__all__ = ["search_subsets"]
