"""``raytag verify``: every file of a run is compared, and what is damaged is named with what becomes of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from raytag.cli import main
from raytag.experiment import CorrectionsFile, Experiment, Sampling
from raytag.store.digest import digest
from raytag.store.events import EventLog
from raytag.store.run import RunStore
from tests.store.test_fold import finish
from tests.store.test_mending import CONTENTS, NONE
from tests.store.test_run import make_table

CORRECTIONS = CorrectionsFile(file="c.json", sha256=hashlib.sha256(b"{}").hexdigest(), text="{}")
CORRECTED = Experiment(sampling=Sampling(curated_corrections=CORRECTIONS))
ID = CORRECTED.id
CLIPS = digest(b'[\n"audio/0.wav"\n]')  # a set of one
#: Files and what becomes of them.
OUTCOMES = {
    "run.json": "the next launch writes it anew",
    "clips.parquet": "the next launch writes it anew",
    "contents.parquet": "the next launch writes it anew",
    "quarantine.csv": "the next launch writes it anew",
    "events/001.jsonl": "left out",
    f"experiments/{ID}/experiment.json": "the next launch writes it anew",
    f"experiments/{ID}/curated_corrections.json": "the next launch writes it anew",
    f"experiments/{ID}/fold_0/result.json": "the next launch trains the fold again",
    f"experiments/{ID}/fold_0/oof.parquet": "the next launch trains the fold again",
    f"experiments/{ID}/fold_0/weights.safetensors": "raytag verify --take-back",
    f"experiments/{ID}/fold_0/curve.csv": "raytag verify --take-back",
    f"trained/{CLIPS}.json": "raytag labels asks no model",
    f"experiments/{ID}/fold_1/checkpoint-0.json": "continues from its other checkpoint",
    f"experiments/{ID}/fold_1/checkpoint-0.safetensors": "continues from its other checkpoint",
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Of a run with a finished fold and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    store = RunStore.open_for(str(tmp_path / "runs"), "r", make_table(tmp_path), "data")
    store.set_contents(CONTENTS)
    store.set_quarantine(NONE)
    store.add(CORRECTED)
    log = EventLog(store.storage)
    log.append("launch", command="launch.py --space s")
    finish(store.fold(ID, 0), trained=["audio/0.wav"])
    curve = pd.DataFrame({"epoch": [1]})
    store.fold(ID, 1).write_checkpoint({"w": torch.ones(9)}, {"epoch": 1, "step": 0}, curve)
    return tmp_path / "runs" / "r"


def test_a_whole_run_is_whole(folder, capsys):
    assert main(["verify"]) == 0
    assert "Run r: 14 files read, all are whole" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_flipped_bit_is_found_in_every_file(folder, name, capsys):
    whole = (folder / name).read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 16)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        (folder / name).write_bytes(flipped)
        code = main(["verify"])
        said = capsys.readouterr().out
        if code == 0:  # blanks between the parts of a JSON file, and the name of its digest, say nothing
            assert name.endswith((".json", ".jsonl"))
            assert json.loads(flipped).items() >= dict(list(json.loads(whole).items())[:-1]).items()
            continue
        assert name in said
        assert OUTCOMES[name] in said


def test_damaged_weights_are_taken_back_when_asked(folder, capsys):
    path = folder / "experiments" / ID / "fold_0" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    store = RunStore(str(folder.parent), "r")
    assert store.fold(ID, 0).finished
    assert main(["verify", "r", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["taken_back"] == []
    assert store.fold(ID, 0).finished
    assert main(["verify", "r", "--take-back", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["taken_back"] == [str(path.parent)]
    assert not store.fold(ID, 0).finished
    assert (path.parent / "damaged-0" / "oof.parquet").exists()
    assert main(["verify"]) == 0


def test_the_cache_is_read_when_asked(folder, capsys):
    shard = folder.parents[1] / "cache" / "0123" / "shards" / "x.checked.parquet"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"no Parquet at all")
    assert main(["verify"]) == 0
    capsys.readouterr()
    assert main(["verify", "--cache"]) == 1
    said = capsys.readouterr().out.replace("\n", "")
    assert "x.checked.parquet" in said
    assert "the next launch computes it again" in said


def test_a_run_that_is_not_there_is_no_damage(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "other"])
    assert ended.value.code == 2
    assert "no run 'other'" in capsys.readouterr().err
