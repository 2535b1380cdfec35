"""The plan of the house: nothing imports upward or in a circle, Ray stays where it belongs, rooms stay small.

``python -m tests.test_house [CHECKOUT]`` prints the measures of this checkout, or of another one.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.mutants import MUTANTS

CHECKOUT = Path(sys.argv[1] if __name__ == "__main__" and len(sys.argv) > 1 else REPOSITORY)
PACKAGE = CHECKOUT / "raytag"
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
    {"batch", "experiment", "families", "parts", "plugins", "space"}
    | {"metrics", "seeding", "console", "errors", "signals"},
]
MOST_MODULES = 12  # in one level of a folder, its __init__ not counted
MOST_LINES = 400
RAY = {"cluster", "search.tuner", "search.trial", "features.cache"}

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """What a file imports, inside functions and for type checkers too, or at once."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are hard to follow"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name: str, everywhere: bool = True) -> set[str]:
    """Modules of raytag that a module imports."""
    found = set()
    for target in imports(MODULES[name], everywhere):
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


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_of_the_mutants_can_still_be_made(mutant):
    assert (REPOSITORY / mutant.file).read_text().count(mutant.old) == 1


def levels() -> int:
    """Length of the longest chain of imports, in files; those inside functions do not count."""
    graph = {name: own_imports(name, everywhere=False) for name in MODULES}
    depth: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        depth[name] = 1 + max((depth[other] for other in graph[name]), default=0)
    return max(depth.values())


def main() -> None:
    """Modules a folder, longest module and function, levels of imports, lines."""
    folders = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    lines = {path: len(path.read_text().splitlines()) for path in MODULES.values()}
    functions = {
        f"{path.relative_to(PACKAGE)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    most, longest, function = (max(d, key=d.__getitem__) for d in (folders, lines, functions))
    print(f"modules: {sum(folders.values())} in {len(folders)} folders, at most {folders[most]} (in {most.name}/)")
    print(f"longest module: {lines[longest]} lines ({longest.relative_to(PACKAGE)})")
    print(f"longest function: {functions[function]} lines ({function})")
    print(f"levels of imports: {levels()}")
    for folder in ("raytag", "benchmarks", "tests"):
        files = list((CHECKOUT / folder).rglob("*.py"))
        print(f"{folder}/: {sum(len(file.read_text().splitlines()) for file in files)} lines in {len(files)} files")


if __name__ == "__main__":
    main()
