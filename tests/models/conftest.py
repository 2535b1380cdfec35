"""Fixtures of the networks' tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def rules18(shared: Path) -> ModuleType:
    """The rules that fill the networks of reference arrays 18 and make their inputs."""
    spec = importlib.util.spec_from_file_location("rules18", shared / "golden" / "rules18.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Reference arrays were made with one; on a busy machine it is faster, too."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
