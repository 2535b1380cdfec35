"""The features of recordings as a cache holds them: for what is asked of a run later, without recordings or Ray."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from rich.console import Console

from raytag import parts
from raytag.datasets.findings import some
from raytag.features.bank import Bank
from raytag.features.manifest import ROWS, CacheError, Manifest, feature_folder
from raytag.features.report import known_cells


def cached_bank(features: parts.Features, cache_dir: str, contents: Mapping[str, str], console: Console) -> Bank:
    """A bank of recordings whose features were computed before, variants left out.

    Parameters
    ----------
    features : Features
    cache_dir : str
        A local folder or a URI.
    contents : mapping
        Hash of each recording (`raytag.store.run.RunStore.contents`) by clip, in the order of the bank.
    console : rich.console.Console
        For a word about what is damaged.

    Raises
    ------
    CacheError
        The cache lacks some of them, or cannot be read.
    DamagedCells
        All that are damaged.
    """
    own = features.copies()[0]
    storage = feature_folder(own, cache_dir)
    known = known_cells(storage, console)
    lacking = [clip for clip, content in contents.items() if (clip, content) not in known.cells]
    if lacking:
        words = some(lacking, "clip", "clips")
        raise CacheError(
            f"the feature cache {storage.where()} lacks {words}: say where they are with --cache-dir, or launch "
            "the run again, which computes what is missing"
        )
    rows = [(clip, content, *known.cells[clip, content]) for clip, content in contents.items()]
    return Manifest(pd.DataFrame(rows, columns=ROWS), own, storage).bank()
