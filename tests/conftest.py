"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of tests run side by side: those that start whole launches take longest, so they begin."""
    items.sort(key=lambda item: not item.path.name.endswith("_cli.py"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and reference arrays beside the checkout; tests that need it skip without it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "golden").is_dir():
        message = "../shared (recordings and reference arrays) is not beside this checkout"
        if os.environ.get("RAYTAG_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray of two cores for the whole test session."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=500_000_000, log_to_driver=False)
    yield
    ray.shutdown()
