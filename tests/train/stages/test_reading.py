"""Children of parents: no label of a fold reaches the child that is scored on it; what is read is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from raytag.datasets.table import ClipTable
from raytag.errors import DamagedError
from raytag.experiment import Experiment, Init, Pseudo, Sampling
from raytag.features.bank import Bank
from raytag.store.run import RunStore
from raytag.train.fold import train_fold
from raytag.train.stages import reading
from raytag.train.stages.lineage import Cell, reads
from raytag.train.stages.reading import Reading

CLASSES = ("a", "b", "c")
SMALL = {
    "features.n_mels": 32,
    "input.crop_frames": 32,
    "model.base_size": 4,
    "model.last_fc": 1,
    "training.epochs": 2,
    "training.batch_size": 4,
    "training.early_stopping": None,
    "training.keep_epoch": "last",
    "schedule.name": "OneCycle",
    "optimizer.lr": 3e-3,
}


class World:
    """A run whose models are trained on demand, parents first."""

    def __init__(self, folder, permuted=None):
        rng = np.random.default_rng(0)
        subsets = ["curated"] * 24 + ["noisy"] * 12 + ["test"] * 3
        mels, labels = [], []
        for i, subset in enumerate(subsets):
            x = rng.normal(-60, 5, (32, int(rng.integers(20, 60)))).astype(np.float32)
            x[10 * (i % 3) : 10 * (i % 3) + 8] += 40
            mels.append(x)
            wrong = subset == "noisy" and i % 2
            labels.append(CLASSES[(i + wrong) % 3] if subset != "test" else "")
        clips = pd.DataFrame({"clip": [f"{s}/{i}.wav" for i, s in enumerate(subsets)], "subset": subsets})
        clips = clips.assign(
            fname=clips["clip"], path=clips["clip"], labels=labels, group="", duration=1.0, rate=44100
        )
        clips["fold"] = [i // 3 % 3 if s == "curated" else -1 for i, s in enumerate(subsets)]
        if permuted is not None:
            own = clips.index[clips["fold"] == permuted]
            clips.loc[own, "labels"] = np.roll(clips.loc[own, "labels"], 1)
        self.table = ClipTable(clips, CLASSES, None, folder, "test")
        self.bank = Bank.from_logmels(clips["clip"].tolist(), mels)
        self.run = RunStore.open_for(str(folder), "r", self.table, "data")
        self.trained = []

    def reading(self, experiment, cell):
        store = self.run.model(experiment.id, cell.folder)
        device = torch.device("cpu")
        return Reading(experiment, cell, self.table, self.run, lambda features: self.bank, store, device)

    def train(self, experiment, cell, **options):
        store = self.run.model(experiment.id, cell.folder)
        if store.finished:
            return store
        self.run.add(experiment)
        for parent, model in reads(experiment, cell, 3):
            self.train(parent, model)
        read = self.reading(experiment, cell)
        train_fold(experiment, cell.fold, self.table, self.bank, store, reading=read, **options)
        self.trained.append((experiment.name, cell))
        return store


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "runs")


FIRST = Experiment(name="first").replace(SMALL)


def child(reader="same_fold", parent=FIRST, **more):
    fields = {
        "name": "second",
        "sampling": Sampling(noisy_prob=0.5),
        "init": Init("ParentWeights", parent=parent),
        "pseudo": Pseudo("Top", parent=parent, reader=reader),
    }
    return Experiment(**(fields | more)).replace(SMALL | {"training.seed": 1})


def content(store):
    names = ["oof.parquet", "weights.safetensors", "test.parquet", "pseudo.parquet"]
    return {name: store.storage.read(name) for name in names if store.storage.exists(name)}


def same_whatever_the_labels_of_the_fold(experiment, tmp_path, fold=1):
    as_given = content(World(tmp_path / "given").train(experiment, Cell(fold)))
    return content(World(tmp_path / "permuted", permuted=fold).train(experiment, Cell(fold))) == as_given


@pytest.mark.parametrize("stages", [("same_fold", "same_fold"), ("cross_fit",), ("same_fold", "cross_fit")])
def test_labels_of_a_fold_change_no_bit_of_the_child_that_leaves_it_out(tmp_path, stages):
    experiment = FIRST
    for reader in reversed(stages):
        experiment = child(reader, parent=experiment)
    assert same_whatever_the_labels_of_the_fold(experiment, tmp_path)


@pytest.mark.parametrize("rule", ["Match", "Relabel", "Merge", "Rest"])
def test_labels_of_a_fold_change_no_bit_of_a_child_that_labels_noisy_clips(tmp_path, rule):
    pseudo, sampling = Pseudo(rule, parent=FIRST), Sampling(epoch="pass", noisy_prob=1)
    experiment = child(pseudo=pseudo, sampling=sampling, init=Init()).replace({"training.epochs": 1})
    assert same_whatever_the_labels_of_the_fold(experiment, tmp_path)


def test_the_same_test_fails_when_the_reader_is_given_another_fold(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "parent_model", lambda parent, cell: Cell((cell.fold + 1) % 3))
    monkeypatch.setattr("raytag.train.stages.lineage.parent_model", lambda parent, cell: Cell((cell.fold + 1) % 3))
    assert not same_whatever_the_labels_of_the_fold(child(), tmp_path)


def test_what_is_leaky_fails_the_same_test_and_says_so(tmp_path):
    leaky = child("oof", init=Init())
    assert not same_whatever_the_labels_of_the_fold(leaky, tmp_path)
    lineage = World(tmp_path / "given").train(leaky, Cell(1)).result()["lineage"]
    assert lineage["leaky"]
    assert lineage["read"].keys() == {f"{FIRST.id}/fold_{k}" for k in range(3)}


def test_a_child_begins_with_the_weights_of_its_parents_fold(world):
    without_steps = child(pseudo=Pseudo(), sampling=Sampling()).replace({"optimizer.lr": 1e-30})
    store = world.train(without_steps, Cell(2))
    own, parents = store.weights(), world.run.fold(FIRST.id, 2).weights()
    other = world.train(FIRST, Cell(1)).weights()
    trained = [name for name in own if "weight" in name and own[name].ndim > 1]
    assert trained
    assert all(torch.allclose(own[name], parents[name], atol=1e-12) for name in trained)
    assert not all(torch.allclose(own[name], other[name]) for name in trained)
    lineage = store.result()["lineage"]
    assert lineage["init"] == {"from": f"{FIRST.id} fold 2", "taken": len(own), "fresh": [], "unused": []}
    assert lineage["read"] == {f"{FIRST.id}/fold_2": world.run.fold(FIRST.id, 2).digest_of_weights()}
    assert (lineage["stage"], lineage["parents"], lineage["leaky"]) == (2, [FIRST.id], False)


def test_top_trains_on_the_noisy_clips_whose_labels_the_parent_ranks_best(world):
    """How argus-freesound chose its noisy clips: it published the list, not the script."""
    experiment = child().replace({"pseudo.clips": 4})
    store = world.train(experiment, Cell(0))
    done = store.result()["lineage"]["pseudo"]
    assert (done["of"], done["kept"], done["reader"]) == (12, 4, "same_fold")
    kept = store.storage.read_parquet("pseudo.parquet")
    assert len(kept) == 12
    assert store.result()["files"]["pseudo.parquet"]["bytes"] == store.storage.sizes()["pseudo.parquet"]
    from raytag.metrics import clip_precisions
    from raytag.train.sources import split

    plain = split(world.table, experiment.sampling, 0)
    noisy = plain.sources[1]
    learned, _ = experiment.pseudo.learn(plain, world.reading(experiment, Cell(0)))
    scores = clip_precisions(noisy.targets, kept[list(CLASSES)].to_numpy())
    chosen = np.isin(noisy.rows, learned.sources[1].rows)
    assert chosen.sum() == 4
    assert scores[chosen].min() >= scores[~chosen].max()
    assert learned.sources[0] is plain.sources[0]
    half, _ = child().pseudo.learn(plain, world.reading(experiment, Cell(0)))
    assert len(half.sources[1].rows) == 6
    with pytest.raises(ValueError, match=r"sampling\.noisy_prob draws none"):
        experiment.replace({"sampling.noisy_prob": 0})


def test_cross_fit_predicts_each_clip_by_models_that_were_not_trained_on_it(world):
    experiment = child("cross_fit")
    world.train(experiment, Cell(0))
    inner = {cell.left_out for name, cell in world.trained if name == "first" and cell.blind}
    assert inner == {(0, 1), (0, 2)}
    read = world.reading(experiment, Cell(0))
    rows = np.flatnonzero(world.table.clips["fold"] == 1)
    models = reading.parent_models(FIRST, "cross_fit", Cell(0), 3)
    found = read._predict(FIRST, "cross_fit", models, np.r_[rows, world.table.rows("noisy")])
    own = read._model(FIRST, models[1])(rows)
    np.testing.assert_array_equal(found[: len(rows)], own)
    noisy = np.mean([read._model(FIRST, cell)(world.table.rows("noisy")) for cell in models.values()], 0)
    np.testing.assert_allclose(found[len(rows) :], noisy, atol=1e-6)
    assert world.run.model(FIRST.id, models[1].folder).test() is None  # an inner model predicts what it is asked


def test_an_interrupted_child_goes_on_with_what_it_read_even_when_the_parent_is_gone(tmp_path):
    experiment, whole = child(), World(tmp_path / "whole")
    expected = content(whole.train(experiment, Cell(0)))
    world, asked = World(tmp_path / "parts"), []
    world.train(experiment, Cell(0), should_stop=lambda: asked.append(1) or len(asked) > 3)
    world.run.storage.delete_folder(f"experiments/{FIRST.id}")
    store = world.run.fold(experiment.id, 0)
    assert not store.finished
    train_fold(experiment, 0, world.table, world.bank, store, reading=world.reading(experiment, Cell(0)))
    assert content(store) == expected
    assert store.result()["lineage"] == whole.run.fold(experiment.id, 0).result()["lineage"]


@pytest.mark.parametrize("fault", ["flip", "gone"])
def test_predictions_that_were_read_and_are_damaged_are_computed_again(tmp_path, fault):
    experiment, whole = child(), World(tmp_path / "whole")
    expected = content(whole.train(experiment, Cell(0)))
    world, asked = World(tmp_path / "parts"), []
    world.train(experiment, Cell(0), should_stop=lambda: asked.append(1) or len(asked) > 3)
    storage = world.run.fold(experiment.id, 0).storage
    data = bytearray(storage.read("pseudo.parquet"))
    data[len(data) // 2] ^= 4
    storage.write("pseudo.parquet", bytes(data))
    if fault == "gone":
        storage.delete("pseudo.json")
    assert content(world.train(experiment, Cell(0))) == expected


def test_weights_that_were_freed_are_an_error_that_says_so(world):
    world.train(FIRST, Cell(0))
    storage = world.run.fold(FIRST.id, 0).storage
    storage.write_json("pruned.json", {"files": ["weights.safetensors"]})
    storage.delete("weights.safetensors")
    with pytest.raises(DamagedError, match="freed by raytag prune"):
        world.train(child(), Cell(0))


def test_a_users_file_of_weights_is_renamed_kept_in_the_run_and_used(world, tmp_path):
    weights = world.train(FIRST, Cell(0)).weights()
    save_file({f"module.{k}": v for k, v in weights.items()}, tmp_path / "mine.safetensors")
    init = Init("WeightsFile", file=str(tmp_path / "mine.safetensors"), rename={"module.": ""})
    experiment = child(pseudo=Pseudo(), sampling=Sampling(), init=init).replace({"optimizer.lr": 1e-30})
    world.run.add(experiment)
    (tmp_path / "mine.safetensors").unlink()
    store = world.train(experiment, Cell(0))
    own = store.weights()
    assert all(torch.allclose(own[k], v, atol=1e-12) for k, v in weights.items() if v.ndim > 1)
    lineage = store.result()["lineage"]
    assert lineage["init"]["from"].endswith("mine.safetensors")
    assert (lineage["stage"], lineage["read"]) == (1, {})
    kept = f"files/{init.file.sha256}"
    world.run.storage.write(kept, b"other")
    with pytest.raises(DamagedError, match="does not hold what"):
        world.reading(experiment, Cell(0)).file(init.file)
    with pytest.raises(ValueError, match="the run does not have it"):
        world.run.add(experiment)
