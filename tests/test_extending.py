"""The examples of docs/extending.md, as they stand there: short, true to the contracts, trained in one launch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from raytag import space
from raytag.cli import main
from raytag.features.bank import Bank
from raytag.store.run import RunStore
from raytag.testing.features import recording
from tests.cli import REPOSITORY, call
from tests.recordings import make_folder
from tests.store.test_run import make_table

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
def test_every_example_keeps_its_contracts_and_prints_what_the_page_shows(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(write(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["plugin", name]) == 0, capsys.readouterr().out
    printed = f"$ raytag plugin {name}\n{capsys.readouterr().out}"
    assert "".join(f"    {line}\n" for line in printed.splitlines()) in TEXT


SMALL = ["--set", "training.batch_size=4", "--set", "sampling.samples_per_epoch=8", "--epochs", "1"]
SMALL += ["--set", "model.base_size=4", "--set", "model.hidden=8", "--set", "input.crop_frames=32"]
ONE = """
from raytag.experiment import Experiment

SPACES = [(1, name, {fixed}) for name in {spaces}]
"""


@pytest.mark.parametrize("name", SPACES)
def test_every_example_trains(name, tmp_path, monkeypatch):
    """An epoch of what its space draws first, on its own features of noise."""
    pytest.importorskip("torch")
    import torch

    from raytag.train.fold import FoldTraining

    monkeypatch.chdir(write(tmp_path))
    table, e = make_table(tmp_path), space.load(name).firsts[-1]
    small = {"training.batch_size": 4, "sampling.samples_per_epoch": 8, "model.base_size": 4}
    e = e.replace({key: value for key, value in small.items() if key in e.flat()})
    frames = [e.features.compute(recording(0.5 + 0.1 * i, 22050), "")[0] for i in range(len(table))]
    bank = Bank(np.concatenate(frames), np.cumsum([0, *map(len, frames)]), table.clips["clip"].tolist())
    training = FoldTraining(e, 0, table, bank, torch.device("cpu"))
    assert list(training.run_epoch()) == [0, 1]
    training.end_epoch()
    assert 0 < training.best <= 1


@pytest.mark.long
def test_all_of_them_train_in_one_launch_and_are_blended(tmp_path, ray_session):
    pytest.importorskip("torch")
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
        "GentleFocal",
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
