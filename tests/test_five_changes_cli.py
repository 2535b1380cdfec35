"""What a newcomer adds is one file and one row: the new name stands in --help, acts, and is named in the log.

A copy of the package gets a feature set, an input, a front end, a network, a loss, a stopping rule, a searcher, a
dataset layout, a way of choosing an ensemble and a mean, each as CONTRIBUTING.md says; then its commands are run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from raytag.store.events import read_events
from raytag.store.files import Storage
from tests.cli import REPOSITORY, SMALL, environment
from tests.recordings import make_folder, sound, write_wav

pytestmark = pytest.mark.long

FEATURE_SET = '''
"""Samples without their sign."""
from raytag.features.sets.waveforms import Waveforms


class Rectified(Waveforms):
    def compute(self, data, path):
        samples, remarks = super().compute(data, path)
        return abs(samples.clip(-32767)), remarks
'''
INPUT = '''
"""Crops of them."""
from raytag.inputs.waveforms.settings import WaveformCrops


class RectifiedCrops(WaveformCrops):
    reads = "Rectified"
'''
FRONT_END = '''
"""Folded to images of three channels."""
from pydantic import Field
from raytag import parts
from torch import nn


class Folded(parts.FrontEnd):
    bands: int = Field(10, ge=1)

    def shape(self, features, shape):
        return 3, self.bands, shape[0] // (3 * self.bands)

    def build(self, features):
        return FoldedModule(self.bands)


class FoldedModule(nn.Module):
    def __init__(self, bands):
        super().__init__()
        self.bands = bands

    def forward(self, x):
        frames = x.shape[1] // (3 * self.bands)
        return x[:, : 3 * self.bands * frames].unflatten(1, (3, self.bands, frames)).clamp_min(0)
'''
NETWORK = '''
"""Means of the bands."""
from pydantic import Field
from raytag import parts
from raytag.batch import Outputs
from torch import nn


class Glance(parts.Network):
    width: int = Field(3, ge=3)

    def build(self, num_classes, channels):
        return GlanceNet(channels, self.width, num_classes)


class GlanceNet(nn.Module):
    def __init__(self, channels, width, num_classes):
        super().__init__()
        self.widen = nn.Linear(channels, width)
        self.glance = nn.Linear(width, num_classes)

    def forward(self, x):
        return Outputs(self.glance(self.widen(x.mean(dim=(2, 3)))))
'''
LOSS = '''
"""Cross-entropy that is never below a floor."""
from raytag.losses.base import LossOfLabels
from raytag.losses.bce import bce


class NeverBelow(LossOfLabels):
    floor: float = 7.0

    def of_labels(self, logits, labels, weights, noisy):
        return self.floor + bce(logits, labels, weights).mean()
'''
RULE = '''
"""Only the best of the first fold go on."""
from raytag.search.race.rules.base import Rule


class Impatient(Rule):
    name = "impatient"
    about = "drop the worst after every fold"

    def failing(self, state, entry):
        depth = state.depth(entry)
        means = [state.mean(e, depth) for e in state.active if state.depth(e) >= depth]
        if depth == 0 or len(means) < 3 or state.mean(entry, depth) > min(means):
            return None
        return {"fold": None, "rung": None, "value": min(means), "bar": max(means), "margin": 0.0, "reason": "slow"}
'''
SEARCHER = '''
"""The base again and again, with other seeds."""
from raytag.search.searchers.base import Searcher


class Reseeded(Searcher):
    about = "the base experiment with other seeds"

    def __init__(self, space, seed, number):
        self.base = space.first

    def propose(self, index):
        return self.base.replace({"training.seed": index})
'''
LAYOUT = '''
"""A folder with tags.csv."""
from raytag.datasets.readers.base import Listing, csv_entries, read_csv


class Tags:
    name = "tags"
    expects = "tags.csv (file,tag) and sounds/"

    def recognises(self, directory):
        return (directory / "tags.csv").is_file()

    def read(self, directory, separator=None):
        table = read_csv(directory / "tags.csv")
        entries = csv_entries(table, "sounds", "curated", fname_column="file", label_column="tag")
        return Listing(self.name, entries)
'''
WAY = '''
"""The model that no other way would take."""
from raytag.blends.subsets import Found


def worst_single(scorer, parts):
    singles = [Found((m,), tuple(scorer.sums([m]))) for m in range(scorer.pairs.n_models)]
    return min(singles, key=lambda found: scorer.total(found.sums, parts))
'''
MEAN = '''
"""Mean of squares."""
import numpy as np

from raytag.blends.pairs import GRID, SCORE_RANGE, check_probabilities


class Quadratic:
    def scores(self, probabilities):
        squares = np.square(check_probabilities(probabilities), dtype=np.float64)
        return np.rint(squares * (SCORE_RANGE / GRID)) * GRID

    def probabilities(self, mean):
        return np.sqrt(mean / SCORE_RANGE)
'''
#: The new file, and where its row goes: (table, before which text, row), the import first where there is one.
CHANGES = {
    "features/sets/rectified.py": (
        FEATURE_SET,
        [("features/sets/__init__.py", "}", '    "Rectified": "raytag.features.sets.rectified:Rectified",\n')],
    ),
    "inputs/rectified.py": (
        INPUT,
        [("inputs/__init__.py", "}", '    "RectifiedCrops": "raytag.inputs.rectified:RectifiedCrops",\n')],
    ),
    "models/front_ends/folded.py": (
        FRONT_END,
        [("models/front_ends/__init__.py", "}", '    "Folded": "raytag.models.front_ends.folded:Folded",\n')],
    ),
    "models/glance.py": (
        NETWORK,
        [("models/__init__.py", "}\n\n\ndef build", '    "Glance": "raytag.models.glance:Glance",\n')],
    ),
    "losses/floor.py": (
        LOSS,
        [("losses/__init__.py", "}\n\n\ndef build", '    "NeverBelow": "raytag.losses.floor:NeverBelow",\n')],
    ),
    "search/race/rules/impatient.py": (
        RULE,
        [
            (
                "search/race/rules/__init__.py",
                "\n#: Every rule",
                "from raytag.search.race.rules.impatient import Impatient\n",
            ),
            ("search/race/rules/__init__.py", "        Paired(),\n", "        Impatient(),\n"),
        ],
    ),
    "search/searchers/reseeded.py": (
        SEARCHER,
        [
            (
                "search/searchers/__init__.py",
                "\nif TYPE_CHECKING",
                "from raytag.search.searchers.reseeded import Reseeded\n",
            ),
            ("search/searchers/__init__.py", '    "random": ', '    "reseeded": Reseeded,\n'),
        ],
    ),
    "datasets/readers/tags.py": (
        LAYOUT,
        [
            (
                "datasets/readers/__init__.py",
                "from raytag.datasets.table import",
                "from raytag.datasets.readers.tags import Tags\n",
            ),
            ("datasets/readers/__init__.py", "COMPETITION, PUBLISHED, Esc50()", "Tags(), "),
        ],
    ),
    "blends/worst.py": (
        WAY,
        [
            (
                "ensemble/choose/ways.py",
                '        Way("linear",',
                '        Way("worst", "worst single model", "the worst", "raytag.blends.worst:worst_single"),\n',
            )
        ],
    ),
    "blends/means/quadratic.py": (
        MEAN,
        [
            (
                "blends/means/__init__.py",
                '    "rank": ',
                '    "quadratic": Row("raytag.blends.means.quadratic:Quadratic", "mean of squares"),\n',
            )
        ],
    ),
}


#: A field that comes later, with a default: (file, after which line, the field).
LATER = [
    ("inputs/logmel_images/settings.py", "    add_max_alpha: float = Field(0.5, ge=0, le=1)", "    later: int = 3"),
    ("features/sets/logmels.py", "    top_db: float = Field(80.0, gt=0)", "    later: int = 1"),
    ("losses/noisy.py", "    beta: float = Field(0.7, ge=0, le=1)", "    later: float = 0.5"),
    ("train/schedules.py", "    warmup_share: float = Field(0.3, gt=0, lt=1)", "    later: bool = True"),
    ("experiment.py", "    samples_per_epoch: int | None = Field(None, ge=1)", '    later: str = "late"'),
]
FINISHED = [
    "--data",
    "before",
    "--run",
    "before",
    "--num-samples",
    "2",
    "--epochs",
    "1",
    "--stopping",
    "none",
    *SMALL,
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the checkout with all changes made, and a run of before them."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("raytag", "search_spaces"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("launch.py", "ensemble_search.py"):
        shutil.copy(REPOSITORY / name, root)
    make_folder(root / "before", clips=12)
    run(root, "launch.py", *FINISHED)
    for file, after, field in LATER:
        path = root / "raytag" / file
        lines = path.read_text().splitlines()
        (at,) = (number for number, line in enumerate(lines) if line.startswith(after))
        path.write_text("\n".join([*lines[: at + 1], field, *lines[at + 1 :]]) + "\n")
    for file, (code, rows) in CHANGES.items():
        (root / "raytag" / file).write_text(code.lstrip())
        for table, before, row in rows:
            path = root / "raytag" / table
            text = path.read_text()
            assert text.count(before) == 1, (table, before)
            path.write_text(text.replace(before, row + before))
    return root


def run(copy: Path, script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, copy / script, *arguments],
        cwd=copy,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def store(copy) -> Storage:
    """The run that the copy's commands leave."""
    rng = np.random.default_rng(0)
    rows = [(f"{i:02d}.wav", ("noise", "tone")[i % 2]) for i in range(12)]
    for name, label in rows:
        write_wav(copy / "data" / "sounds" / name, sound(label, rng))
    pd.DataFrame(rows, columns=["file", "tag"]).to_csv(copy / "data" / "tags.csv", index=False)
    small = ["--set", "input.crop_seconds=0.2", "--set", "training.batch_size=4"]
    chosen = ["--set", "features.name=Rectified", "--set", "input.name=RectifiedCrops"]
    chosen += ["--set", "front_end.name=Folded", "--set", "front_end.bands=7"]
    chosen += ["--set", "model.name=Glance", "--set", "model.width=5", "--set", "loss.name=NeverBelow"]
    chosen += ["--set", "loss.floor=8", "--stopping", "impatient"]
    asked = ["--search", "reseeded", "--num-samples", "3", "--keep", "2", "--n-folds", "2", "--epochs", "1"]
    run(copy, "launch.py", "--data", "data", "--run", "r", *small, *chosen, *asked)
    run(copy, "ensemble_search.py", "--run", "r", "--way", "worst", "--blend", "quadratic", "--stackers", "0")
    return Storage(copy / "runs" / "r")


def test_fields_and_members_that_come_later_leave_finished_folds_finished(copy):
    store = Storage(copy / "runs" / "before")
    files = {name: store.files(f"experiments/{name}/fold_0") for name in store.folders("experiments")}
    trained = [e for e in read_events(store) if e["event"] == "fold"]
    assert len(trained) == 4
    printed = run(copy, "launch.py", *FINISHED)
    assert {name: store.files(f"experiments/{name}/fold_0") for name in store.folders("experiments")} == files
    assert [e for e in read_events(store) if e["event"] in ("fold", "start", "lost")] == trained
    assert "features: 22 clips cached" in printed
    own = run(copy, "launch.py", *FINISHED, "--set", "loss.later=0.75", "--dry-run")
    assert not [name for name in files if name in own]


def test_help_names_them(copy):
    words = " ".join(run(copy, "launch.py", "--help").replace("│", " ").split())
    for name in (
        "Rectified",
        "RectifiedCrops",
        "Folded",
        "Glance",
        "NeverBelow",
        "impatient: drop the worst",
        "reseeded: the base",
        "tags.csv (file,tag)",
    ):
        assert name in words
    words = " ".join(run(copy, "ensemble_search.py", "--help").replace("│", " ").split())
    assert "worst: the worst" in words
    assert "quadratic: mean of squares" in words


def test_the_log_names_them(store):
    events = read_events(store)
    launch = next(e for e in events if e["event"] == "launch")
    assert launch["layout"] == "tags"
    assert launch["options"]["search"] == "reseeded"
    assert "model.name=Glance" in launch["options"]["set"]
    assert "loss.name=NeverBelow" in launch["options"]["set"]
    assert next(e for e in events if e["event"] == "race")["settings"]["stopping"] == "impatient"
    search = store.read_json("ensembles/ensemble-001/ensemble.json")["search"]
    assert (search["way"], search["blend"]) == ("worst", "quadratic")


def test_they_act(store):
    drops = [e for e in read_events(store) if e["event"] == "drop"]
    assert [e["reason"] for e in drops] == ["slow"]
    names = store.folders("experiments")
    fields = {name: store.read_json(f"experiments/{name}/experiment.json") for name in names}
    assert sorted(e["training"]["seed"] for e in fields.values()) == [0, 1, 2]
    whole = [name for name in names if name != drops[0]["experiment"]]
    fold = f"{store.root}/experiments/{whole[0]}/fold_0"
    with safe_open(f"{fold}/weights.safetensors", "np") as weights:
        assert set(weights.keys()) == {
            f"network.{layer}.{kind}" for layer in ("widen", "glance") for kind in ("weight", "bias")
        }
        assert weights.get_slice("network.widen.weight").get_shape() == [5, 3]
    assert pd.read_csv(f"{fold}/curve.csv")["train_loss"].min() > 8
    found = store.read_json("ensembles/ensemble-001/ensemble.json")
    assert list(found["members"].values()) == [1]
    (worst,) = found["members"]
    assert found["experiments"][worst] == min(found["experiments"].values())
    kept = store.read_parquet("ensembles/ensemble-001/oof.parquet").set_index("fname")
    own = pd.concat([store.read_parquet(f"experiments/{worst}/fold_{k}/oof.parquet") for k in range(2)])
    np.testing.assert_allclose(kept, own.set_index("fname").loc[kept.index], atol=1e-6)
    assert json.dumps(found)  # plain values throughout
