"""A model rates a noisy clip only where neither it nor what it read was trained on it, as the run records it."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from raytag.experiment import CorrectionsFile, Init, Pseudo, Sampling
from raytag.labels.raters import find_raters, noisy_clips, trained_on
from raytag.store.run import StoreError
from raytag.train.stages.lineage import Cell
from tests.train.stages.test_reading import FIRST, World, child

NOISY = {f"noisy/{i}.wav" for i in range(24, 36)}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "runs")
    made.run.set_quarantine(pd.DataFrame({"clip": [], "reason": []}))
    return made


def train(world, experiment, folds=range(3)):
    for k in folds:
        world.train(experiment, Cell(k))
    return experiment.id


def curated(world, *left_out):
    clips = world.table.clips
    return set(clips["clip"][(clips["subset"] == "curated") & ~clips["fold"].isin(left_out)])


def with_corrections(actions, **more):
    text = str(actions).replace("'", '"')
    file = CorrectionsFile(file="c.json", sha256=hashlib.sha256(text.encode()).hexdigest(), text=text)
    return Sampling(noisy_corrections=file, **more)


def test_a_run_records_the_clips_of_each_fold_and_each_set_once(world):
    first, again = train(world, FIRST), train(world, FIRST.replace({"training.seed": 1}))
    for k in range(3):
        assert world.run.fold(first, k).trained() == curated(world, k)
    inner = world.train(FIRST, Cell(0, (1,)))
    assert inner.trained() == curated(world, 0, 1)
    assert len(world.run.storage.files("trained")) == 4
    assert world.run.fold(again, 2).result()["trained"] == world.run.fold(first, 2).result()["trained"]


@pytest.mark.parametrize(
    ("sampling", "noisy"),
    [
        ({"noisy_prob": 0.5}, {24, 25, 26, *range(28, 36)}),
        ({"noisy_prob": 0.5, "noisy_pool": "original"}, {*range(24, 36)}),
        ({"noisy_prob": 0.2, "corrected_noisy_prob": 0.2}, {24, 25, 26, *range(28, 36)}),
        ({"corrected_noisy_prob": 0.5}, {24, 25}),
        ({}, set()),
    ],
)
def test_of_noisy_clips_those_are_recorded_that_may_be_drawn(world, sampling, noisy):
    actions = {"noisy/24.wav": "a", "noisy/25.wav": "b,c", "noisy/27.wav": "remove"}
    experiment = FIRST.replace({"training.epochs": 1}).model_copy(
        update={"sampling": with_corrections(actions, **sampling)}
    )
    assert world.train(experiment, Cell(1)).trained() - curated(world) == {f"noisy/{i}.wav" for i in noisy}


def test_a_model_is_refused_by_what_is_recorded_not_by_what_its_experiment_says(world):
    clips = noisy_clips(world.run)["clip"].tolist()
    assert set(clips) == NOISY
    noisy = train(world, FIRST.replace({"sampling.noisy_prob": 0.5}))
    name = f"experiments/{noisy}/experiment.json"
    fields = world.run.storage.read_json(name)
    world.run.storage.write_json(name, fields | {"sampling": {}})
    with pytest.raises(StoreError, match=f"cannot be rated by {noisy}: its models were trained on all 12 of them"):
        find_raters(world.run, clips)
    clean = train(world, FIRST)
    raters, refused = find_raters(world.run, clips)
    assert {(rater.experiment, rater.fold) for rater in raters} == {(clean, k) for k in range(3)}
    assert all(len(rater.rows) == 12 for rater in raters)
    assert list(refused) == [noisy]
    with pytest.raises(StoreError, match=noisy):  # it was asked for
        find_raters(world.run, clips, [clean, noisy])
    with pytest.raises(StoreError, match=f"closest that is there: '{clean}'"):
        find_raters(world.run, clips, [clean[:-1]])


def test_each_clip_is_rated_by_the_models_that_left_it_out(world):
    chosen = train(world, child().replace({"pseudo.clips": 4}))
    clips = noisy_clips(world.run)["clip"].tolist()
    raters, _ = find_raters(world.run, clips, [chosen])
    for k, rater in enumerate(raters):
        left_out = NOISY - world.run.fold(chosen, k).trained()
        assert len(left_out) == 8
        assert {clips[row] for row in rater.rows} == left_out


@pytest.mark.parametrize("fields", [{"noisy_prob": 0.5}, {"noisy_prob": 1, "epoch": "pass"}])
def test_noisy_clips_of_other_folds_parts_are_rated(world, fields):
    sampling = Sampling(noisy_share="fold", **fields)
    sharing = train(world, FIRST.replace({"training.epochs": 1}).model_copy(update={"sampling": sampling}))
    parts = [world.run.fold(sharing, k).trained() - curated(world, k) for k in range(3)]
    assert sorted(clip for part in parts for clip in part) == sorted(NOISY)
    clips = noisy_clips(world.run)["clip"].tolist()
    raters, refused = find_raters(world.run, clips)
    assert not refused
    assert [{clips[row] for row in rater.rows} for rater in raters] == [NOISY - part for part in parts]


def test_clips_that_all_models_saw_are_an_error_that_says_how_many(world):
    sampling = with_corrections({"noisy/24.wav": "a", "noisy/25.wav": "b"}, corrected_noisy_prob=0.5)
    listed = train(world, FIRST.model_copy(update={"sampling": sampling}))
    clips = noisy_clips(world.run)["clip"].tolist()
    words = rf"^every model of {listed} was trained on 2 noisy clips \(noisy/24.wav, noisy/25.wav\) of 12"
    with pytest.raises(StoreError, match=words):
        find_raters(world.run, clips)
    clean = train(world, FIRST)
    raters, _ = find_raters(world.run, clips)
    assert {rater.experiment: len(rater.rows) for rater in raters} == {listed: 10, clean: 12}


def test_what_an_earlier_stage_was_trained_on_counts(world):
    parent = FIRST.replace({"sampling.noisy_prob": 0.5})
    weights = child(parent=parent, sampling=Sampling(), pseudo=Pseudo())
    assert not world.train(weights, Cell(0)).trained() & NOISY
    assert trained_on(world.run, weights.id, "fold_0") & NOISY == NOISY
    chosen = child(parent=parent, init=Init())
    assert len(world.train(chosen, Cell(0)).trained() & NOISY) == 6
    assert trained_on(world.run, chosen.id, "fold_0") & NOISY == NOISY
    train(world, weights)
    with pytest.raises(StoreError, match="trained on all 12"):
        find_raters(world.run, sorted(NOISY), [weights.id])


@pytest.mark.parametrize("fault", ["old", "gone", "cut", "pruned", "open"])
def test_models_of_which_it_is_not_known_are_refused(world, fault):
    experiment = train(world, FIRST)
    fold, storage = world.run.fold(experiment, 1), world.run.storage
    result = fold.result()
    name = f"trained/{result['trained']}.json"
    if fault == "old":
        fold.storage.write_json("result.json", {k: v for k, v in result.items() if k != "trained"})
    elif fault == "gone":
        storage.delete(name)
    elif fault == "cut":
        storage.write(name, storage.read(name)[:-30])
    elif fault == "pruned":
        fold.storage.write_json("pruned.json", {"files": ["weights.safetensors"]})
        fold.storage.delete("weights.safetensors")
    else:
        fold.storage.delete("result.json")
    words = {
        "old": r"fold_1/result\.json is from before .* delete the fold's folder and launch again",
        "gone": r"trained/.*\.json is gone",
        "cut": r"trained/.*\.json is damaged",
        "pruned": "freed by raytag prune",
        "open": "folds 1 are not finished",
    }
    with pytest.raises(StoreError, match=words[fault]):
        find_raters(world.run, sorted(NOISY), [experiment])
    if fault in ("gone", "cut"):  # whoever trains on the same clips mends it
        train(world, FIRST.replace({"training.seed": 5}), [1])
        assert len(find_raters(world.run, sorted(NOISY), [experiment])[0]) == 3


def test_without_noisy_clips_there_is_nothing_to_rate(world):
    clips = world.table.clips
    own = clips["clip"][clips["subset"] == "noisy"]
    world.run.storage.write_csv("quarantine.csv", pd.DataFrame({"clip": own, "reason": "silent: it is"}))
    world.run.run["files"].pop("quarantine.csv")
    with pytest.raises(StoreError, match="has no noisy clips"):
        noisy_clips(world.run)
