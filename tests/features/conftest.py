"""Small datasets and ways to look at a build."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from raytag import datasets
from raytag.datasets.table import ClipTable
from raytag.experiment import Features
from raytag.features.cache import Manifest, build_cache
from tests.recordings import make_folder

CLIPS = 34  # of make_folder


@pytest.fixture
def table(tmp_path: Path) -> ClipTable:
    """34 clips of half a second to one second, in three folders."""
    return datasets.load(make_folder(tmp_path / "data"))


@pytest.fixture
def run(tmp_path: Path, ray_session: None) -> Callable[..., tuple[Manifest, str]]:
    """Build a cache; returns the manifest and what was printed."""

    def run(
        table: ClipTable, cache_dir: str | Path = tmp_path / "cache", **options: object
    ) -> tuple[Manifest, str]:
        output = io.StringIO()
        features = options.pop("features", Features())
        manifest = build_cache(table, features, str(cache_dir), console=Console(file=output, width=300), **options)
        return manifest, output.getvalue()

    return run
