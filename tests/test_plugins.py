"""Plugins: one file, named by its content, refused with file and line, imported from a run only where trusted."""

from __future__ import annotations

import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from raytag import plugins, space
from raytag.errors import DamagedError
from raytag.experiment import Experiment, Features, Input, Loss, Model
from raytag.features.manifest import feature_hash
from raytag.plugins import PluginError
from raytag.space import SpaceError
from raytag.store.files import Storage
from raytag.store.run import RunStore
from raytag.store.verify import Verifier
from tests.store.test_run import make_table

NET = """
from raytag import parts


class MyNet(parts.Network):
    width: int = 3

    def build(self, num_classes, channels):
        from torch import nn

        return nn.Linear(channels, num_classes * self.width)
"""
LOSS = """
from raytag.losses.base import LossOfLabels


class MyLoss(LossOfLabels):
    floor: float = 0.5

    def of_labels(self, logits, labels, weights, noisy):
        return self.floor + 0 * logits.sum()
"""
SOUND = """
from __future__ import annotations

from raytag.features.sets.waveforms import Waveforms
from raytag.inputs.waveforms.settings import WaveformCrops


class Loud(Waveforms):
    gain: int = 2


class LoudCrops(WaveformCrops):
    reads = "Loud"
"""
_numbers = itertools.count()


def fresh(code: str) -> str:
    """The code as no other test has it: plugins stay loaded."""
    return f"# {next(_numbers)}{code}"


def write(folder: Path, name: str, code: str) -> Path:
    path = folder / name
    path.write_text(code)
    return path


def whole(plugin: plugins.Plugin, cls: str) -> str:
    return f"{cls}@{plugin.hash}"


def test_a_class_is_called_by_the_content_of_its_file(tmp_path):
    code = fresh(NET + LOSS)
    first = plugins.load(write(tmp_path, "a.py", code))
    assert plugins.load(write(tmp_path, "b.py", code)) is first
    other = plugins.load(write(tmp_path, "a.py", code + "# another\n"))
    assert {f: [c.__name__ for c in classes] for f, classes in first.members.items()} == {
        "model": ["MyNet"],
        "loss": ["MyLoss"],
    }
    e = Experiment().replace(
        {"model.name": whole(first, "MyNet"), "model.width": 5, "loss.name": whole(first, "MyLoss")}
    )
    assert type(e.model) is first.members["model"][0]
    assert e.model.build(4, 2).weight.shape == (20, 2)
    assert json.loads(e.canonical_json())["model"] == {"name": f"MyNet@{first.hash}", "width": 5}
    assert Experiment.from_json(e.to_json()) == e
    changed = e.replace({"model.name": whole(other, "MyNet"), "model.width": 5})
    assert changed.hash != e.hash
    assert type(changed.model) is not type(e.model)


def test_a_plain_name_is_understood_where_one_plugin_has_it(tmp_path):
    code = fresh(NET.replace("MyNet", "Plain7"))
    first = plugins.load(write(tmp_path, "a.py", code))
    assert type(Model("plain_7", width=4)) is first.members["model"][0]
    second = plugins.load(write(tmp_path, "b.py", code + "#\n"))
    with pytest.raises(
        ValueError, match=f"'Plain7' may be Plain7@{first.hash} or Plain7@{second.hash}: give the whole"
    ):
        Model("Plain7")
    with pytest.raises(ValueError, match="no model is called 'Plain8'; did you mean Plain7"):
        Model("Plain8")
    assert type(Model(whole(second, "Plain7"))) is second.members["model"][0]
    with pytest.raises(
        ValueError, match="no model is called 'Plain7@00000000' here: it is of a plugin, and no file"
    ):
        Experiment.from_json(json.dumps({"model": {"name": "Plain7@00000000"}}))


def test_a_plugins_input_reads_a_plugins_features(tmp_path):
    plugin = plugins.load(write(tmp_path, "sound.py", fresh(SOUND)))
    names = {"features.name": whole(plugin, "Loud"), "input.name": whole(plugin, "LoudCrops")}
    e = Experiment().replace({**names, "front_end.name": "Mel"})
    assert feature_hash(e.features) != feature_hash(Features("Waveforms"))
    with pytest.raises(ValueError, match=r"LoudCrops@.* reads Loud and features\.name is Waveforms"):
        Experiment().replace({**names, "features.name": "Waveforms"})


def test_instances_are_pickled_with_their_source(tmp_path):
    """What the workers of the feature cache get: another process, another folder, no file."""
    plugin = plugins.load(write(tmp_path, "sound.py", fresh(SOUND)))
    features = Features(whole(plugin, "Loud"), gain=3, trim_db=None)
    data = pickle.dumps([features, features])
    assert pickle.loads(data) == [features, features]
    assert type(pickle.loads(data)[0]) is type(features)
    Path(plugin.file).unlink()
    code = (
        "import pickle, sys; a, b = pickle.load(sys.stdin.buffer); assert type(a) is type(b); print(a.name, a.gain)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, cwd="/")
    assert done.stdout.decode().split() == [features.name, "3"]


SPACE = """
from raytag.experiment import Experiment, Model
from raytag.space import choice
PLUGINS = ["nets/net.py"]
BASE = Experiment(model=Model("Net9", width=2))
VARY = {"model.name": choice(["Net9", "PlainConv"]), "model.width": choice([2, 4]), "model.blocks": choice([3])}
"""


def test_a_space_names_its_plugins_and_calls_their_classes_plainly(tmp_path):
    (tmp_path / "nets").mkdir()
    code = fresh(NET.replace("MyNet", "Net9"))
    one = plugins.load(write(tmp_path / "nets", "net.py", code))
    path = write(tmp_path, "mine.py", SPACE)
    s = space.load(str(path))
    assert s.plugins == (one.hash,)
    assert s.first.model.name == whole(one, "Net9")
    assert {b.base.model.name for b in s.branches} == {whole(one, "Net9"), "PlainConv"}
    write(tmp_path / "nets", "net.py", code + "# edited\n")
    edited = space.load(str(path))  # both are loaded; each space means its own
    assert edited.first.model.name != s.first.model.name
    assert not {e.hash for e in edited.grid(0, 9)} & {e.hash for e in s.grid(0, 9) if "@" in e.model.name}
    assert {b.model.name for b in s.fix({"model.name": "net9"}).bases} == {whole(one, "Net9")}
    lonely = write(tmp_path, "lonely.py", SPACE.replace('PLUGINS = ["nets/net.py"]', ""))
    with pytest.raises(SpaceError, match=r"lonely\.py: ValueError: no model is called 'Net9'; there are AuxSkip"):
        space.load(str(lonely))


def test_a_mixture_takes_each_space_with_its_own_plugins(tmp_path):
    code = fresh(NET.replace("MyNet", "Net10"))
    text = SPACE.replace("Net9", "Net10")
    for number in (1, 2):
        write(tmp_path, f"net{number}.py", code + f"# {number}\n")
        write(tmp_path, f"s{number}.py", text.replace("nets/net.py", f"net{number}.py"))
    fixing = ', {"model.name": "Net10", "model.width": 7}'
    spaces = [f"(1, {str(tmp_path / f's{n}.py')!r}{fixing * (n == 2)})" for n in (1, 2)]
    s = space.load(str(write(tmp_path, "both.py", f"SPACES = [{', '.join(spaces)}]")))
    assert len(s.plugins) == 2
    assert len({e.model.name for e in s.firsts}) == 2
    assert {e.model.width for e in s.bases if e.model.name == s.firsts[1].model.name} == {7}
    with pytest.raises(ValueError, match=r"'Net10' may be Net10@\w+ or Net10@\w+"):
        s.fix({"model.name": "Net10"})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os\nx = (\n", r"bad\.py:2: SyntaxError"),
        ("\n\nfrom raytag import parts\nparts.nothing\n", r"bad\.py:4: AttributeError: module 'raytag\.parts'"),
        ("import no_such_package\n", r"bad\.py:1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("def f():\n    raise SystemExit(3)\nf()\n", r"bad\.py:2: SystemExit: 3"),
        ("x = 1\n", r"bad\.py: brings nothing that an experiment can choose: .*raytag\.parts \(Features, Input"),
        ("from raytag import parts\nclass Half(parts.Network):\n    x: int = 1\n", "has all its methods"),
        (
            "\n" + NET.replace("MyNet", "Plain_Conv"),
            r"bad\.py:6: class Plain_Conv: raytag has a model PlainConv: give",
        ),
        (
            "from raytag.losses.bce import BCE\nclass Own(BCE):\n    name: str = ''\n",
            r"bad\.py:2: class Own: a field cannot be called name",
        ),
        (
            "import sys\n\nimport helpers\n",
            r"bad\.py:3: imports helpers, which lies beside it; a plugin is one file",
        ),
        ("def f():\n    from helpers.x import y\n", r"bad\.py:2: imports helpers, which lies beside it"),
        ("from . import y\n", r"bad\.py:1: imports relatively, which lies beside it"),
        ("x = '\0'\n", r"bad\.py.*null byte"),
    ],
)
@pytest.mark.filterwarnings("ignore:Field name")
def test_a_file_that_cannot_be_a_plugin_is_refused_with_its_line(tmp_path, code, words):
    before, modules = plugins.trusted(), set(sys.modules)
    write(tmp_path, "helpers.py", "")
    write(tmp_path, "bad.py", code)
    with pytest.raises(PluginError, match=words) as error:
        plugins.load(tmp_path / "bad.py")
    assert str(tmp_path) in str(error.value)
    path = write(tmp_path, "s.py", 'PLUGINS = ["bad.py"]\nraise AssertionError("not before the plugins")\n')
    with pytest.raises(SpaceError, match=rf"s\.py:1: PLUGINS: .*{words}"):
        space.load(str(path))
    assert plugins.trusted() == before
    assert not [m for m in set(sys.modules) - modules if m.startswith(plugins.MODULES)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("PLUGINS = 'net.py'", "must be a list of paths as they stand, such as .*, not 'net.py'"),
        ("PLUGINS = [1]", r"must be a list of paths as they stand, such as .*, not \[1\]"),
        ("PLUGINS = [NAME]", "must be a list of paths as they stand"),
        ("PLUGINS: list = ['gone.py']", r"no file gone\.py beside s\.py"),
    ],
)
def test_what_is_no_list_of_files_is_refused(tmp_path, line, words):
    with pytest.raises(SpaceError, match=rf"s\.py:2: PLUGINS:? {words}"):
        space.load(str(write(tmp_path, "s.py", f"NAME = 'x.py'\n{line}\n")))


def test_a_package_that_is_installed_may_be_imported_though_its_folder_lies_beside(tmp_path):
    """As where a plugin lies in a checkout; the user's own folders are another matter."""
    for name in ("raytag", "numpy", "json"):
        (tmp_path / name).mkdir()
    plugins.load(write(tmp_path, "net.py", fresh("\nimport json\nimport numpy\nimport raytag.space" + NET)))


def test_a_plugin_is_not_imported_where_only_a_run_is_read(tmp_path):
    """Every field of an experiment that uses one, without one line of it."""
    code = "import sys; from raytag.store.run import RunStore; from raytag.cli import main; "
    code += "code = main(['verify', sys.argv[1]]); print([m for m in sys.modules if 'raytag_plugin' in m], code)"
    _store, e = stored(tmp_path, fresh(NET))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "runs" / "r")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert e.model.name.startswith("MyNet@")


def stored(tmp_path: Path, code: str) -> tuple[RunStore, Experiment]:
    """A run with an experiment that uses a plugin."""
    plugin = plugins.load(write(tmp_path, "my-net.py", code))
    e = Experiment().replace({"model.name": whole(plugin, "MyNet")})
    store = RunStore.open_for(str(tmp_path / "runs"), "r", make_table(tmp_path), "data")
    store.add(e)
    return store, e


def test_a_run_has_the_plugins_that_its_experiments_use(tmp_path):
    store, e = stored(tmp_path, code := fresh(NET))
    plugins.load(write(tmp_path, "unused.py", fresh(LOSS)))
    short = e.model.name.partition("@")[2]
    kept = tmp_path / "runs" / "r" / "plugins" / f"my-net-{short}.py"
    assert [f.name for f in kept.parent.iterdir()] == [kept.name]
    assert kept.read_text() == code
    store.add(e)
    assert store.take_mended() == []
    kept.write_text("x = 1")
    assert [d.reason for d in Verifier(store.storage).damage()] == [
        f"{kept} is damaged: it does not hold what was written"
    ]
    store.add(e)
    assert store.take_mended() == [f"{kept} is damaged: written anew"]
    assert kept.read_text() == code
    kept.unlink()
    assert [d.reason for d in Verifier(store.storage).damage()] == [f"{kept.parent}/…-{short}.py is gone"]
    store.add(e)
    assert not list(Verifier(store.storage).damage())


FOREIGN = """
import sys
from raytag import plugins
from raytag.store.run import RunStore
store = RunStore(sys.argv[1], "r")
how = sys.argv[2]
if how == "trust":
    print(plugins.trust_run(store.storage))
elif how != "nothing":
    plugins.trust([how])
try:
    print(store.experiment(store.experiments()[0]).model.name)
except ValueError as error:
    print(type(error).__name__, error)
"""


def test_nothing_is_imported_from_a_run_that_is_not_trusted(tmp_path):
    mark = tmp_path / "imported"
    store, e = stored(tmp_path, fresh(f"\nopen({str(mark)!r}, 'a').write('x')\n" + NET))
    assert mark.read_text() == "x"
    kept = next((tmp_path / "runs" / "r" / "plugins").iterdir())

    def foreign(how: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", FOREIGN, str(tmp_path / "runs"), how], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    said = foreign("nothing")
    assert said.startswith(f"PluginError {kept} is a plugin: code of whoever made this run")
    assert "say --trust, or name the file in PLUGINS" in said
    assert foreign("0" * 64).startswith("PluginError")
    assert mark.read_text() == "x"
    assert foreign(plugins.loaded([e.model.name.partition("@")[2]])[0].digest) == e.model.name
    assert foreign("trust").splitlines() == [f"['{kept.name}']", e.model.name]
    assert mark.read_text() == "xxx"
    kept.write_text("raise SystemExit")  # somebody edits what was trusted by its content
    assert foreign("trust").splitlines()[-1] == f"DamagedError {kept} is damaged: it does not hold what was written"
    assert store.experiment(e.id) == e  # here it is loaded already
    kept.unlink()
    assert "has no plugin" in foreign("trust")


def test_a_parent_of_another_run_brings_its_plugin_only_where_that_is_trusted(tmp_path):
    _, e = stored(tmp_path, fresh(NET))
    folder = tmp_path / "runs" / "r" / "experiments" / e.id
    code = (
        "from raytag import plugins\n"
        "from raytag.experiment import Experiment, Init\n"
        "def child(): return Experiment(init=Init('ParentWeights', parent=%r)).parents[0].id\n"
        "try: child()\n"
        "except ValueError as error: print(error)\n"
        "with plugins.trusting(True): print(child())\n"
        "print(child())\n"  # it is loaded now
    )
    done = subprocess.run(
        [sys.executable, "-c", code % str(folder)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    refused, *ids = done.stdout.splitlines()
    assert "is a plugin: code of whoever made this run" in refused
    assert ids == [e.id, e.id]


def test_plugins_of_parts_within_parts_are_found():
    parent = {"experiment": {"model": {"name": "A@00000001"}}}
    value = {"name": "x", "init": parent, "list": [{"name": "B@0000000a", "within": {"name": "C@0000000b"}}]}
    assert plugins.hashes_in(value) == {"00000001", "0000000a", "0000000b"}
    assert plugins.hashes_in({"name": "A@b", "file": "x@00000001", "model": {"name": 3}}) == set()


def test_what_a_run_lacks_is_named(tmp_path):
    with pytest.raises(PluginError, match=r"plugins has no plugin …-00000001\.py"):
        plugins.load_named(Storage(tmp_path), {"model": {"name": "A@00000001"}})
    write(tmp_path, "x.py", "")
    (tmp_path / "plugins").mkdir()
    write(tmp_path / "plugins", "a-00000001.py", "")
    with pytest.raises(DamagedError, match=r"a-00000001\.py is damaged"):
        plugins.load_named(Storage(tmp_path), {"model": {"name": "A@00000001"}})


def test_an_error_tells_where_in_a_plugin_it_was_raised(tmp_path):
    code = fresh(NET.replace("nn.Linear(channels, num_classes * self.width)", "nn.Linear(channels, None)"))
    plugin = plugins.load(write(tmp_path, "net.py", code))
    with pytest.raises(TypeError) as error:
        Model(whole(plugin, "MyNet")).build(3, 1)
    assert plugins.place(error.value) == f"{tmp_path}/net.py:11"
    assert plugins.place(ValueError("elsewhere")) == ""


def test_families_of_a_plugin_do_not_mix(tmp_path):
    plugin = plugins.load(write(tmp_path, "net.py", fresh(NET)))
    for family in (Loss, Input, Features):
        with pytest.raises(ValueError, match="is called"):
            family(whole(plugin, "MyNet"))
