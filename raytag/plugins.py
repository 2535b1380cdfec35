"""Plugins: a user's own file with networks, losses, front ends, inputs or any other parts of an experiment.

A plugin is one Python file that a space names (``PLUGINS = ["my_net.py"]``). Its content is part of the identity
of what uses it: a class ``MyNet`` of it is called ``MyNet@1a2b3c4d`` in every experiment, feature set and file,
after the SHA-256 of the file. So a file that changes gives new experiments, and two files with one class name never
meet.

A run keeps a copy of each plugin that its experiments use (``runs/RUN/plugins``), which every worker imports from
there. A plugin is code and does what it likes: what lies in a run is imported only where its content is trusted,
because this process, or the launch that started it, loaded a file of that content, or because the user said so.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import linecache
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from raytag.errors import DamagedError
from raytag.experiment import FAMILIES
from raytag.families import SIGN, plain_name
from raytag.parts import Member

MODULES = "raytag_plugin_"  # how the modules are called, before the hash
FOLDER = "plugins"  # of a run
_NAME = re.compile(rf"\w+{SIGN}([0-9a-f]{{8}})")
_loaded: dict[str, Plugin] = {}  # by digest
_trusted: set[str] = set()  # digests of what may be loaded from a run
_everything: ContextVar[bool] = ContextVar("everything", default=False)  # whether any may


class PluginError(ValueError):
    """A plugin that cannot be used; the message names file and line, and what to do."""


class Files(Protocol):
    """What is asked of the folder of a run (`raytag.store.files.Storage`)."""

    def files(self, name: str = "") -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, data: bytes) -> dict[str, Any]: ...

    def where(self, name: str = "") -> str: ...


@dataclass(frozen=True)
class Plugin:
    """A file that was loaded.

    Attributes
    ----------
    file : str
        Its path, as tracebacks show it.
    source : bytes
    digest : str
        SHA-256 of the source.
    members : mapping of str to tuple of class
        What it brings, by family: ``{"model": (MyNet,)}``.
    """

    file: str
    source: bytes
    digest: str
    members: dict[str, tuple[type[Member], ...]]

    @property
    def hash(self) -> str:
        """The part of the digest that stands in names."""
        return self.digest[:8]

    def __str__(self) -> str:
        names = ", ".join(cls.__name__ for classes in self.members.values() for cls in classes)
        return f"{Path(self.file).name} ({names}) @{self.hash}"


def load(path: str | Path) -> Plugin:
    """Load a file of the user's own; the same content gives the same classes, however often it is loaded.

    Raises
    ------
    PluginError
        There is no such file, it cannot be imported, brings nothing, or imports a file that lies beside it.
    """
    file = Path(path).resolve()
    try:
        source = file.read_bytes()
    except OSError as error:
        raise PluginError(f"plugin {file}: {error.strerror}") from None
    _refuse_neighbours(file, _parsed(str(file), source))
    return load_source(str(file), source)


def load_source(file: str, source: bytes) -> Plugin:
    """Load a plugin from its content; ``file`` is what tracebacks call it. Errors as in `load`."""
    digest = hashlib.sha256(source).hexdigest()
    if digest in _loaded:
        return _loaded[digest]
    name = MODULES + digest[:8]
    if name in sys.modules:
        raise PluginError(f"{file}: another plugin has the hash {digest[:8]} too: change a comment in this one")
    tree = _parsed(file, source)
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[file] = (len(source), None, lines, file)  # what was loaded, whatever the file holds later
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module  # where annotations are looked up
    try:
        exec(compile(tree, file, "exec", dont_inherit=True), vars(module))
        members = _members_of(module, tree)
    except PluginError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        words = str(error).partition("\n")[0]
        raise PluginError(f"{place(error) or file}: {type(error).__name__}: {words}") from error
    plugin = _loaded[digest] = Plugin(file, source, digest, members)
    for family, classes in members.items():
        for cls in classes:
            full = f"{cls.__name__}{SIGN}{plugin.hash}"
            cls.name, cls.__reduce_ex__ = full, _by_value(plugin)  # type: ignore[assignment, method-assign]
            FAMILIES[family].brought[full] = cls
    return plugin


def loaded(hashes: Iterable[str]) -> list[Plugin]:
    """The plugins with these hashes that are loaded."""
    by_hash = {plugin.hash: plugin for plugin in _loaded.values()}
    return [by_hash[short] for short in hashes if short in by_hash]


def place(error: BaseException) -> str:
    """``FILE:LINE`` where a plugin was when an error was raised; "" where none was at work."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").startswith(MODULES):
            found = f"{frame.f_code.co_filename}:{line}"
    return found


# -- in a run -----------------------------------------------------------------------------------------


def hashes_in(value: Any) -> set[str]:
    """Hashes of the plugins whose classes an experiment names, given as JSON values; parts may be nested."""
    if isinstance(value, list | tuple):
        return set().union(*map(hashes_in, value))
    if not isinstance(value, dict):
        return set()
    own = _NAME.fullmatch(str(value.get("name")))
    return set().union([own[1]] if own else [], *map(hashes_in, value.values()))


def keep(storage: Files, value: Any) -> list[str]:
    """Put the plugins that an experiment names (JSON values) into the folder of its run.

    Returns
    -------
    list of str
        A sentence for each that was there and damaged.
    """
    mended = []
    for plugin in loaded(sorted(hashes_in(value))):
        there = _file_of(storage, plugin.hash)
        if there is not None and storage.read(there) == plugin.source:
            continue
        mended += [f"{storage.where(there)} is damaged: written anew"] if there else []
        storage.write(there or f"{FOLDER}/{Path(plugin.file).stem}-{plugin.hash}.py", plugin.source)
    return mended


def load_named(storage: Files, value: Any) -> None:
    """Load the plugins that an experiment names (JSON values) from the folder of its run, unless they are loaded.

    Raises
    ------
    PluginError
        It is not there, not trusted, or cannot be imported here.
    DamagedError
        It does not hold what was written.
    """
    for short in sorted(hashes_in(value) - {plugin.hash for plugin in _loaded.values()}):
        name = _file_of(storage, short)
        if name is None:
            raise PluginError(
                f"{storage.where(FOLDER)} has no plugin …-{short}.py, with which an experiment was made: put it "
                "back, or name it in PLUGINS of the space"
            )
        source, where = storage.read(name), storage.where(name)
        digest = hashlib.sha256(source).hexdigest()
        if not digest.startswith(short):
            raise DamagedError(f"{where} is damaged: it does not hold what was written")
        if digest not in _trusted and not _everything.get():
            raise PluginError(
                f"{where} is a plugin: code of whoever made this run, which would run with all your rights. Look "
                "at it; if you trust it, say --trust, or name the file in PLUGINS of a space"
            )
        load_source(where, source)


def damaged(storage: Files, hashes: Iterable[str]) -> Iterator[str]:
    """What is wrong with the plugins of these hashes in a run's folder; none is imported."""
    for short in sorted(hashes):
        name = _file_of(storage, short)
        if name is None:
            yield f"{storage.where(FOLDER)}/…-{short}.py is gone"
        elif not hashlib.sha256(storage.read(name)).hexdigest().startswith(short):
            yield f"{storage.where(name)} is damaged: it does not hold what was written"


def trust(digests: Iterable[str]) -> None:
    """Let plugins with these digests be loaded from runs in this process."""
    _trusted.update(digests)


def trust_run(storage: Files) -> list[str]:
    """Trust all plugins in the folder of a run as they are now; their names. None is imported yet."""
    names = storage.files(FOLDER)
    trust(hashlib.sha256(storage.read(f"{FOLDER}/{name}")).hexdigest() for name in names)
    return names


@contextmanager
def trusting(everything: bool) -> Iterator[None]:
    """Meanwhile plugins may be loaded from any run, if ``everything``."""
    token = _everything.set(everything or _everything.get())
    try:
        yield
    finally:
        _everything.reset(token)


def trusted() -> frozenset[str]:
    """Digests of what this process loaded or trusts."""
    return frozenset(_trusted | _loaded.keys())


def _file_of(storage: Files, short: str) -> str | None:
    """The file of a plugin in a run's folder, by its hash."""
    return next((f"{FOLDER}/{f}" for f in storage.files(FOLDER) if f.endswith(f"-{short}.py")), None)


# -- what a file holds --------------------------------------------------------------------------------


def _parsed(file: str, source: bytes) -> ast.Module:
    try:
        return ast.parse(source, file)
    except SyntaxError as error:
        raise PluginError(f"{file}:{error.lineno}: {type(error).__name__}: {error.msg}") from None
    except ValueError as error:
        raise PluginError(f"{file}: {error}") from None


def _refuse_neighbours(file: Path, tree: ast.Module) -> None:
    """Refuse imports of what lies beside the file: it would be lacking where the plugin is imported from a run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for root in (name.partition(".")[0] for name in names):
            if not root or _lies_beside(file, root):
                raise PluginError(
                    f"{file}:{node.lineno}: imports {root or 'relatively'}, which lies beside it; a plugin is one "
                    "file, nothing else goes to the workers: put it in the plugin, or install it as a package"
                )


def _lies_beside(file: Path, root: str) -> bool:
    beside = file.parent / f"{root}.py", file.parent / root
    if root == "raytag" or root in sys.stdlib_module_names or not any(path.exists() for path in beside):
        return False
    return importlib.util.find_spec(root) is None or root not in importlib.metadata.packages_distributions()


def _members_of(module: ModuleType, tree: ast.Module) -> dict[str, tuple[type[Member], ...]]:
    """The public classes of a module that experiments can choose, by family."""
    lines = {node.name: node.lineno for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, tuple[type[Member], ...]] = {}
    for name, cls in vars(module).items():
        own = isinstance(cls, type) and issubclass(cls, Member) and cls.__module__ == module.__name__
        if not own or name.startswith("_") or name != cls.__name__ or inspect.isabstract(cls):
            continue
        for family in FAMILIES.values():
            if not issubclass(cls, family.base):
                continue
            where = f"{module.__file__}:{lines.get(name, 1)}: class {name}"
            if taken := [known for known in family.table if plain_name(known) == plain_name(name)]:
                raise PluginError(f"{where}: raytag has a {family.what} {taken[0]}: give it another name")
            if "name" in cls.model_fields:
                raise PluginError(f"{where}: a field cannot be called name, which chooses the class")
            found[family.what] = (*found.get(family.what, ()), cls)
    if not found:
        bases = ", ".join(family.base.__name__ for family in FAMILIES.values())
        raise PluginError(
            f"{module.__file__}: brings nothing that an experiment can choose: no public class that is one of "
            f"raytag.parts ({bases}) and has all its methods"
        )
    return found


def _by_value(plugin: Plugin) -> Any:
    """How instances are pickled: with the source, for no other process can import the module."""

    def reduce_ex(self: Member, protocol: Any) -> tuple[Any, ...]:
        fields = {key: value for key, value in self.model_dump(mode="json").items() if key != "name"}
        return _again, (plugin.file, plugin.source, type(self).__name__, json.dumps(fields))

    return reduce_ex


def _again(file: str, source: bytes, name: str, fields: str) -> Member:
    """An instance of a plugin's class in another process."""
    members = load_source(file, source).members.values()
    (cls,) = {cls for classes in members for cls in classes if cls.__name__ == name}
    return cls.model_validate_json(fields)
