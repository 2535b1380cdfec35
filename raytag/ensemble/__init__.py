"""The ensemble search: OOF matrix, exact subset search, stackers, blend, nested score."""

from raytag.blends.subsets import search_subsets

__all__ = ["search_subsets"]
