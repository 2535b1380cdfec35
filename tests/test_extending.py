"""The examples of docs/extending.md, as they stand there: short, true to the contracts, trained in one launch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from raytag.cli import main
from raytag.store.run import RunStore
from tests.cli import REPOSITORY, call
from tests.recordings import make_folder

TEXT = (REPOSITORY / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES = {name: content for content, name in BLOCK.findall(TEXT)}
SPACES = [name for name in EXAMPLES if name.endswith("_space.py")]
PLUGINS = [name.replace("_space", "") for name in SPACES]


def write(folder: Path) -> Path:
    for name, text in EXAMPLES.items():
        (folder / name).write_text(text)
    return folder


def test_the_four_examples_have_at_most_forty_lines() -> None:
    assert PLUGINS == ["network.py", "loss.py", "front_end.py", "inputs.py", "embedding.py"]
    for name in PLUGINS[:4]:
        assert len(EXAMPLES[name].splitlines()) <= 40, name
    assert len(EXAMPLES["embedding.py"].splitlines()) <= 90


@pytest.mark.parametrize("name", PLUGINS)
def test_every_example_keeps_its_contracts(name, tmp_path, capsys):
    assert main(["plugin", str(write(tmp_path) / name)]) == 0, capsys.readouterr().out


SMALL = ["--set", "training.batch_size=4", "--set", "sampling.samples_per_epoch=8", "--epochs", "1"]
SMALL += ["--set", "model.base_size=4", "--set", "model.hidden=8", "--set", "input.crop_frames=32"]
ONE = """
from raytag.experiment import Experiment

SPACES = [(1, name, {fixed}) for name in {spaces}]
"""


def test_all_of_them_train_in_one_launch_and_are_blended(tmp_path, ray_session):
    data = make_folder(write(tmp_path) / "recordings", clips=12, test=2)
    fixed = {"sampling.noisy_prob": 0.0}
    (tmp_path / "all.py").write_text(ONE.format(fixed=fixed, spaces=SPACES))
    small = [*SMALL, "--num-samples", str(len(SPACES) + 1), "--stopping", "none", "--seed", "1"]
    code, printed = call("launch.py", "--space", "all.py", "--data", data, "--run", "r", *small, cwd=tmp_path)
    assert code == 0, printed
    for name in PLUGINS:
        assert f"Plugin {name} (" in printed
    store = RunStore(str(tmp_path / "runs"), "r")
    used = {part for e in store.complete() for part in json.dumps(fields(store, e)).split('"') if "@" in part}
    assert {name.partition("@")[0] for name in used} >= {
        "FrameAttention",
        "Focal",
        "PlainCrops",
        "Statistics",
        "Head",
    }
    assert len(list((tmp_path / "runs" / "r" / "plugins").iterdir())) == 5
    assert np.isfinite(store.fold(store.complete()[0], 0).oof().iloc[:, 1:].to_numpy()).all()
    code, printed = call("ensemble_search.py", "--run", "r", "--way", "subset", "--stackers", "0", cwd=tmp_path)
    assert code == 0, printed


def fields(store: RunStore, experiment: str) -> dict:
    return store.storage.read_json(f"experiments/{experiment}/experiment.json")
