"""Space files: found by name, run, checked."""

from __future__ import annotations

import ast
import difflib
import inspect
import math
import runpy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytag import plugins
from raytag.experiment import Experiment, unknown_key_message
from raytag.families import reach
from raytag.plugins import PluginError
from raytag.space.distributions import Choice, SpaceError, Uniform
from raytag.space.spaces import Branch, Space, branches_of, is_name


def folders() -> list[Path]:
    """Where named spaces are looked for, in this order."""
    return [Path.cwd() / "search_spaces", Path(__file__).resolve().parents[2] / "search_spaces"]


def available() -> list[str]:
    """Names of all spaces that ``load`` finds."""
    return sorted({file.stem for folder in folders() for file in folder.glob("[!_]*.py")})


def find(name: str) -> Path:
    """The file of a space, by its name or path; ``SpaceError`` where there is none."""
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise SpaceError(f"no space file {name}")
        return Path(name)
    found = [folder / f"{name}.py" for folder in folders() if (folder / f"{name}.py").is_file()]
    if not found:
        names = available()
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise SpaceError(
            f"no space {name!r}; {hint}there are: {', '.join(names) or 'none'} "
            f"(a file search_spaces/{name}.py or a path ending in .py would be one)"
        )
    return found[0]


def load(name: str, within: tuple[str, ...] = ()) -> Space:
    """Load a space by name or by the path of its file; ``within`` are the files of mixtures that name it.

    Raises
    ------
    SpaceError
        No such space (the nearest names are given), a file that does not define one, or a plugin of it that cannot
        be loaded.
    """
    path = find(name)
    if str(path.resolve()) in within:
        raise SpaceError(f"{path}: SPACES: the mixture contains itself")
    brought = tuple(_plugins(path))
    try:
        with reach(brought, alone=True):
            values = runpy.run_path(str(path))
            space = _check(path, values, (*within, str(path.resolve())))
    except SpaceError:
        raise
    except Exception as error:
        where = f" ({own})" if (own := plugins.place(error)) else ""
        raise SpaceError(f"{path}: {type(error).__name__}: {error}{where}") from error
    notes = values.get("NOTES", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise SpaceError(f"{path}: NOTES must be a list of sentences, not {notes!r}")
    return replace(
        space,
        notes=tuple(dict.fromkeys((*notes, *space.notes))),
        plugins=tuple(dict.fromkeys((*brought, *space.plugins))),
        help=inspect.cleandoc(values.get("__doc__") or ""),
    )


def _plugins(path: Path) -> Iterator[str]:
    """Load the plugins of a space, which is not run yet: its values use their names; the hash of each."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError):
        return  # running it says what is wrong
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if "PLUGINS" not in [getattr(target, "id", None) for target in targets]:
            continue
        where = f"{path}:{node.lineno}: PLUGINS"
        form = f'{where} must be a list of paths as they stand, such as ["my_net.py"], relative to the space'
        try:
            names = ast.literal_eval(getattr(node, "value", None) or node)
        except ValueError:
            raise SpaceError(form) from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SpaceError(f"{form}, not {names!r}")
        for name in names:
            if not (path.parent / name).is_file():
                raise SpaceError(f"{where}: no file {name} beside {path.name}")
            try:
                yield plugins.load(path.parent / name).hash
            except PluginError as error:
                raise SpaceError(f"{where}: {error}") from error


def _check(path: Path, values: Mapping[str, Any], within: tuple[str, ...]) -> Space:
    base, vary = values.get("BASE"), values.get("VARY")
    experiments, spaces = values.get("EXPERIMENTS"), values.get("SPACES")
    if [base, experiments, spaces].count(None) != 2:
        raise SpaceError(f"{path}: define either BASE (and VARY), or EXPERIMENTS, or SPACES")
    if vary is not None and base is None:
        raise SpaceError(f"{path}: VARY goes with BASE, not with EXPERIMENTS or SPACES")
    if experiments is not None:
        if not experiments or not all(isinstance(e, Experiment) for e in experiments):
            raise SpaceError(f"{path}: EXPERIMENTS must be a list of Experiment, not empty")
        return Space(path.stem, str(path), tuple(experiments))
    if spaces is not None:
        return _mixture(path, spaces, within)
    return _checked(path, "", base, vary or {})


def _mixture(path: Path, spaces: Any, within: tuple[str, ...]) -> Space:
    form = (
        'SPACES is a list of (weight, "space"), (weight, "space", {field: value}) or (weight, base, vary), with '
        "weights above 0"
    )
    if not isinstance(spaces, Sequence) or not spaces:
        raise SpaceError(f"{path}: {form}, not {spaces!r}")
    firsts: dict[str, Experiment] = {}
    branches: list[Branch] = []
    brought: list[str] = []
    notes: list[str] = []
    for number, entry in enumerate(spaces):
        weight, *what = entry if isinstance(entry, Sequence) and len(entry) in (2, 3) else (0, None)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise SpaceError(f"{path}: {form}, not {entry!r}")
        where = f"SPACES[{number}]: "
        more: Any = what[1] if len(what) > 1 else {}
        if isinstance(what[0], str):
            try:
                own = load(what[0], within).fix({k: v for k, v in more.items() if k != "name"})
                own = own.named(more["name"]) if "name" in more else own
            except (ValueError, AttributeError) as error:
                raise SpaceError(f"{path}: {where}{error}") from None
        else:
            own = _checked(path, where, what[0], more)
        brought += own.plugins
        notes += own.notes
        firsts |= {e.hash: e for e in own.firsts}
        # of a list each experiment is a kind of its own: they come first, and are not drawn again
        total = sum(branch.weight for branch in own.branches)
        branches += [replace(branch, weight=weight * branch.weight / total) for branch in own.branches]
    return Space(path.stem, str(path), tuple(firsts.values()), tuple(branches), tuple(notes), tuple(brought))


def _checked(path: Path, where: str, base: Any, vary: Any) -> Space:
    """The space of BASE and VARY, or what is wrong with them."""
    if not isinstance(base, Experiment):
        raise SpaceError(f"{path}: {where}BASE must be an Experiment, not {type(base).__name__}")
    if not isinstance(vary, Mapping):
        raise SpaceError(f"{path}: {where}VARY must be a dict of dotted field to distribution, not {vary!r}")
    for key, distribution in vary.items():
        if not isinstance(distribution, Uniform | Choice):
            raise SpaceError(
                f"{path}: {where}VARY[{key!r}] must be uniform(...), loguniform(...) or choice([...]), "
                f"not {distribution!r}"
            )
    named = base.model_copy(update={"name": path.stem}) if base.name == "experiment" else base
    for key in filter(is_name, vary):
        for value in vary[key].grid():
            _tried(path, where, named, key, value)
    branches = branches_of(named, vary)
    known = {key for branch in branches for key in branch.base.flat()}
    for key in vary:
        if key not in known:
            raise SpaceError(f"{path}: {where}VARY: {unknown_key_message(key, sorted(known))}")
    for branch in branches:
        for key, distribution in branch.vary.items():
            for value in distribution.grid():
                _tried(path, where, branch.base, key, value)
    return Space(path.stem, str(path), (named,), branches)


def _tried(path: Path, where: str, base: Experiment, key: str, value: Any) -> None:
    try:
        base.replace({key: value})
    except ValueError as error:
        raise SpaceError(f"{path}: {where}VARY[{key!r}]: {error}") from None
