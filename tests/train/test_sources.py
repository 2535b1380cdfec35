"""An epoch as one pass over all clips, and parts of the noisy subset that are a fold's own."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment, Sampling, data_needs
from raytag.train.sources import batch_of, part_of_fold, split, steps_per_epoch

PASS = Sampling(epoch="pass", noisy_prob=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """30 curated clips of three folds and 17 noisy ones."""
    subset = ["curated"] * 30 + ["noisy"] * 17
    names = [f"{i}.wav" for i in range(47)]
    clips = pd.DataFrame({"clip": names, "fname": names, "path": names, "subset": subset})
    clips = clips.assign(labels=["abc"[i % 3] for i in range(47)], group="", duration=1.0, rate=44100)
    clips["fold"] = [i % 3 if s == "curated" else -1 for i, s in enumerate(subset)]
    return ClipTable(clips, ("a", "b", "c"), None, tmp_path_factory.mktemp("data"), "test")


def epoch_of(table, sampling, *, fold=0, seed=0, epoch=0, batch_size=5):
    """Batches of an epoch, and the split that they are of."""
    own = split(table, sampling, fold, (), seed)
    steps = steps_per_epoch(sampling, batch_size, own.sources)
    return [batch_of(sampling, own.sources, batch_size, seed, fold, epoch, step) for step in range(steps)], own


def rows_of(batches):
    return np.concatenate([batch.rows for batch in batches])


def test_a_pass_has_each_training_clip_once_and_drops_what_is_left_of_it(table):
    batches, own = epoch_of(table, PASS)
    rows = rows_of(batches)
    assert len(own.trained) == 20 + 17
    assert len(rows) == len(set(rows)) == 35
    assert set(rows) <= set(own.trained)
    assert set(rows_of(epoch_of(table, PASS, batch_size=1)[0])) == set(own.trained)
    np.testing.assert_array_equal(np.concatenate([b.present for b in batches]), table.targets(rows))
    noisy = table.clips["subset"].to_numpy() == "noisy"
    np.testing.assert_array_equal(np.concatenate([b.noisy for b in batches]), noisy[rows])
    everything, _ = epoch_of(table, PASS, batch_size=50)
    assert [len(batch.rows) for batch in everything] == [37]
    curated, own = epoch_of(table, Sampling(epoch="pass"), batch_size=4)
    assert sorted(rows_of(curated)) == own.trained.tolist()
    assert not noisy[own.trained].any()


def test_the_order_of_a_pass_is_a_function_of_seed_fold_and_epoch(table):
    def order(**keys):
        return rows_of(epoch_of(table, Sampling(epoch="pass"), batch_size=1, **keys)[0]).tolist()

    assert order() == order()
    own = split(table, PASS, 0)
    alone = batch_of(PASS, own.sources, 5, 0, 0, 0, 3)  # whatever was asked before
    np.testing.assert_array_equal(alone.rows, epoch_of(table, PASS)[0][3].rows)
    orders = {tuple(order(**keys)) for keys in ({}, {"epoch": 1}, {"epoch": 2}, {"seed": 1})}
    assert len(orders) == 4
    assert {len(set(own)) for own in orders} == {20}
    assert order(fold=1) != order()


def test_partners_in_a_pass_are_any_of_its_clips(table):
    batches = [b for epoch in range(200) for b in epoch_of(table, PASS, epoch=epoch)[0]]
    partners = np.concatenate([b.partners for b in batches])
    trained = split(table, PASS, 0).trained
    counts = np.bincount(partners, minlength=len(table))
    assert set(np.flatnonzero(counts)) == set(trained)
    expected = len(partners) / len(trained)  # about 190
    assert abs(counts[trained] - expected).max() < 5 * expected**0.5
    np.testing.assert_array_equal(np.concatenate([b.partner_present for b in batches]), table.targets(partners))
    mixed = [(table.clips["subset"].to_numpy()[b.partners] == "noisy") != b.noisy for b in batches]
    assert 0.4 < np.concatenate(mixed).mean() < 0.6


@pytest.mark.parametrize("sampling", [PASS, Sampling(noisy_prob=0.3)])
def test_each_noisy_clip_is_in_the_part_of_one_fold(table, sampling):
    """ex4sperans trains each fold on a fifth of the noisy clips, without a word; here it is asked for."""
    sampling = sampling.model_copy(update={"noisy_share": "fold"})
    parts = [split(table, sampling, k).sources[1].rows for k in range(3)]
    assert sorted(np.concatenate(parts)) == table.rows("noisy").tolist()
    assert sorted(map(len, parts)) == [5, 6, 6]
    assert split(table, sampling, 0).sources[1].rows.tolist() == parts[0].tolist()
    assert split(table, sampling, 0, (), 1).sources[1].rows.tolist() != parts[0].tolist()
    assert split(table, sampling, 0, (1,)).sources[1].rows.tolist() == parts[0].tolist()
    assert set(split(table, sampling, 1).trained) & set(table.rows("noisy")) == set(parts[1])
    drawn = rows_of(epoch_of(table, sampling)[0])
    assert not set(drawn) & set(np.concatenate(parts[1:]))


def test_parts_are_the_same_whatever_corrections_say(table, tmp_path):
    file = tmp_path / "noisy.json"
    file.write_text(json.dumps({"30.wav": "b", "31.wav": "remove", "40.wav": "a", "41.wav": "c"}))
    noisy = table.rows("noisy")
    fields = {"noisy_share": "fold", "noisy_corrections": str(file), "noisy_prob": 1, "corrected_noisy_prob": 1}
    sampling = Sampling(epoch="pass", **fields)
    for fold in range(3):
        part = part_of_fold(noisy, fold, 3, 0)
        sources = {source.name: source for source in split(table, sampling, fold).sources}
        assert sources["corrected_noisy"].rows.tolist() == [row for row in (30, 40, 41) if row in part]
        rest = [row for row in part if row not in (30, 31, 40, 41)]
        assert sources["noisy"].rows.tolist() == rest
        targets = [table.classes.index({30: "b", 40: "a", 41: "c"}[r]) for r in sources["corrected_noisy"].rows]
        assert sources["corrected_noisy"].targets.argmax(1).tolist() == targets


def test_a_part_without_clips_is_an_error(table):
    few = table.drop(table.clips["clip"][table.rows("noisy")[2:]].tolist())
    empty = next(k for k in range(3) if not len(part_of_fold(few.rows("noisy"), k, 3, 0)))
    with pytest.raises(ValueError, match=r"no noisy clips in this fold's part \(sampling\.noisy_share=fold\)"):
        split(few, Sampling(noisy_prob=0.5, noisy_share="fold"), empty)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"epoch": "pass", "noisy_prob": 0.3}, "noisy_prob=0.3 is a share of draws, and epoch=pass draws none"),
        ({"epoch": "pass", "samples_per_epoch": 10}, "samples_per_epoch=none or epoch=draws"),
        ({"noisy_share": "fold"}, "noisy_share=fold chooses among noisy clips"),
        ({"epoch": "pass", "noisy_share": "fold"}, "noisy_share=fold chooses among noisy clips"),
        ({"noisy_prob": 1, "corrected_noisy_prob": 1}, "must be at most 1"),
    ],
)
def test_fields_that_mean_nothing_together_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Experiment().replace({f"sampling.{name}": value for name, value in fields.items()})


def test_without_noisy_clips_a_pass_is_one_over_the_curated_ones():
    experiment = Experiment(sampling=Sampling(epoch="pass", noisy_prob=1, noisy_share="fold"))
    fitted = experiment.replace({key: need.neutral for key, need in data_needs([experiment]).items()})
    assert fitted.sampling == Sampling(epoch="pass")


def test_a_clip_may_not_be_twice_in_a_pass(tmp_path):
    file = tmp_path / "noisy.json"
    file.write_text("{}")
    fields = {"epoch": "pass", "noisy_prob": 1, "corrected_noisy_prob": 1, "noisy_corrections": str(file)}
    with pytest.raises(ValueError, match="noisy_pool=all has clips twice in a pass"):
        Sampling(noisy_pool="all", **fields)
    assert Sampling(**fields).pool == "rest"
