"""The plan of the house: nothing imports upward or in a circle, Ray stays where it belongs, rooms stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "raytag"
#: From the top floor to the ground. Rooms of one floor may import each other, files never in a circle.
FLOORS = [
    {"cli", "testing"},
    {"report", "serve", "pack", "labels"},
    {"search", "ensemble"},
    {"train"},
    {"predict"},
    {"inputs"},
    {"features"},
    {"cluster"},
    {"models", "losses"},
    {"store", "datasets"},
    {"blends"},
    {"compiled"},
    {"batch", "experiment", "registry", "plugins", "space", "metrics", "seeding", "console", "errors"},
]
MOST_MODULES = 12  # in one level of a folder, its __init__ not counted
MOST_LINES = 400
RAY = {"cluster", "search.tuner", "search.trial", "features.cache"}

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path: Path) -> Iterator[str]:
    """All that a file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are hard to follow"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name: str) -> set[str]:
    """Modules of raytag that a module imports."""
    found = set()
    for target in imports(MODULES[name]):
        if target.startswith("raytag."):
            parts = target.split(".")[1:]
            found.add(next(m for i in range(len(parts), -1, -1) if (m := ".".join(parts[:i])) in MODULES))
    return found - {name}


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if name.split(".")[0] in rooms)


@pytest.mark.parametrize("name", [name for name in MODULES if name and name != "__main__"])
def test_nothing_is_imported_from_a_floor_above(name):
    assert [other for other in own_imports(name) if other and floor(other) < floor(name)] == []


def test_no_file_imports_itself_in_a_circle():
    TopologicalSorter({name: own_imports(name) for name in MODULES}).prepare()  # a CycleError shows the circle


def test_ray_is_imported_where_it_belongs():
    found = {name for name, path in MODULES.items() if any(i.split(".")[0] == "ray" for i in imports(path))}
    assert {name for name in found if not {name, name.split(".")[0]} & RAY} == set()


def test_rooms_and_modules_stay_small_and_say_what_they_are():
    for folder in {path.parent for path in MODULES.values()}:
        assert len([p for p in folder.glob("*.py") if p.name != "__init__.py"]) <= MOST_MODULES, folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder
    for path in MODULES.values():
        assert len(path.read_text().splitlines()) <= MOST_LINES, path
