"""Training a fold: resumable to the bit, seeded, honest about what it scores."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from raytag import parts
from raytag.batch import Batch, Outputs, Targets
from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.losses import LOSSES
from raytag.losses.bce import bce
from raytag.metrics import lwlrap
from raytag.models import MODELS
from raytag.predict import Windows, predict, predict_middles
from raytag.store.files import Storage
from raytag.store.fold import FoldStore
from raytag.store.run import RunStore
from raytag.train.fold import FoldTraining, train_fold
from raytag.train.sources import Source, draw_rows, split, steps_per_epoch
from raytag.train.twins import shorter_twin

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """24 curated clips of two folds, 6 noisy and 5 test clips whose class is a band of loud mels."""
    rng = np.random.default_rng(0)
    subsets = ["curated"] * 24 + ["noisy"] * 6 + ["test"] * 5
    mels, labels = [], []
    for i, subset in enumerate(subsets):
        x = rng.normal(-60, 5, (32, int(rng.integers(20, 90)))).astype(np.float32)
        x[10 * (i % 3) : 10 * (i % 3) + 8] += 40
        mels.append(x)
        labels.append(CLASSES[i % 3] if subset != "test" else "")
    folder = tmp_path_factory.mktemp("data")
    clips = pd.DataFrame(
        {
            "clip": [f"{s}/{i}.wav" for i, s in enumerate(subsets)],
            "fname": [f"{i}.wav" for i in range(len(subsets))],
            "path": [str(folder / f"{i}.wav") for i in range(len(subsets))],
            "labels": labels,
            "subset": subsets,
            "fold": [i // 3 % 2 if s == "curated" else -1 for i, s in enumerate(subsets)],
            "group": "",
            "duration": 1.0,
            "rate": 44100,
        }
    )
    table = ClipTable(clips, CLASSES, None, folder, "test")
    return table, Bank.from_logmels(clips["clip"].tolist(), mels), folder


def small(**changes) -> Experiment:
    fields = {
        "features.n_mels": 32,
        "input.crop_frames": 48,
        "model.base_size": 4,
        "model.last_fc": 1,
        "training.epochs": 4,
        "training.batch_size": 4,
        "training.early_stopping": None,
        "training.keep_epoch": "last",
        "schedule.name": "one_cycle",
        "optimizer.lr": 3e-3,
    }
    return Experiment().replace(fields | {k.replace("__", "."): v for k, v in changes.items()})


def train(experiment, data, folder, **options):
    table, bank, _ = data
    store = FoldStore(Storage(folder))
    return store, train_fold(experiment, 0, table, bank, store, **options)


def content(store):
    names = ("oof.parquet", "test.parquet", "weights.safetensors")
    return {name: store.storage.read(name) for name in names}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule__name": "plateau", "schedule__patience": 0, "training__keep_epoch": "best"},
        {"sampling__noisy_prob": 0.3, "training__precision": "fp32", "model__name": "SkipAttention"},
    ],
)
@pytest.mark.parametrize("stop_at", [3, 8])
def test_an_interrupted_training_gives_the_same_bits(data, tmp_path, changes, stop_at):
    """argus-freesound begins an interrupted fold again: it keeps no state of the optimizer."""
    experiment = small(**changes)
    whole, outcome = train(experiment, data, tmp_path / "whole")
    assert outcome.state == "finished"
    asked = []
    store, stopped = train(
        experiment, data, tmp_path / "parts", should_stop=lambda: asked.append(1) or len(asked) > stop_at
    )
    assert stopped.state == "interrupted"
    assert not store.finished
    store, outcome = train(experiment, data, tmp_path / "parts")
    assert outcome.result["resumed_from"] == stop_at // 3
    assert content(store) == content(whole)
    columns = ["epoch", "lr", "train_loss", "lwlrap"]
    pd.testing.assert_frame_equal(store.curve()[columns], whole.curve()[columns])


def steps_of(training):
    """Gradients by which the optimizer steps in an epoch, their rates, and the clips of each batch."""
    gradients, rates, sizes, step = [], [], [], training.optimizer.step

    def watched():
        gradients.append([p.grad.clone() for p in training.model.parameters()])
        rates.append(training.optimizer.param_groups[0]["lr"])
        sizes.append(training.step + 1)
        return step()

    training.optimizer.step = watched
    list(training.run_epoch())
    return gradients, rates, np.diff([0, *sizes]).tolist()


def test_the_optimizer_steps_after_each_group_of_batches_and_after_the_tail(data):
    """ex4sperans steps after the first batch, then after each n, and drops the gradients of an epoch's tail."""
    table, bank, _ = data
    changes = {"training__batch_size": 2, "model__dropout": 0.0, "training__precision": "fp32"}
    trainings = [
        FoldTraining(small(**changes, training__accumulate=n), 0, table, bank, torch.device("cpu"))
        for n in (1, 4, 9)
    ]
    plain = trainings[0]
    for training in trainings:
        training.optimizer.param_groups[0]["lr"] = 0.0
        training.rate.lr_at = lambda step, own=training.rate.lr_at: own(step) * 0  # weights stay: gradients compare
    assert plain.steps == 6
    single, _, sizes = steps_of(plain)
    assert sizes == [1] * 6
    for training, expected in zip(trainings[1:], ([4, 2], [6]), strict=True):
        found, _, sizes = steps_of(training)
        assert sizes == expected
        for number, (size, gradients) in enumerate(zip(sizes, found, strict=True)):
            begin = sum(sizes[:number])
            means = [torch.stack(own).mean(0) for own in zip(*single[begin : begin + size], strict=True)]
            for gradient, mean in zip(gradients, means, strict=True):
                torch.testing.assert_close(gradient, mean, rtol=1e-4, atol=1e-6)


def test_the_schedule_counts_steps_of_the_optimizer(data):
    table, bank, _ = data
    experiment = small(training__batch_size=2, training__accumulate=4, training__epochs=3)
    training, found = FoldTraining(experiment, 0, table, bank, torch.device("cpu")), []
    while not training.done:
        found += steps_of(training)[1]
        training.end_epoch()
    rate = experiment.schedule.start(3e-3, 6)
    assert found == [rate.lr_at(step) for step in range(6)]
    assert training.curve()["lr"].tolist() == found[1::2]


class PlainNetwork(parts.Network):
    """No batch normalisation: a sample's gradient does not depend on the batch."""

    def build(self, num_classes, channels):
        return PlainNet(num_classes, channels)


class PlainNet(torch.nn.Module):
    def __init__(self, num_classes, channels) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Conv2d(channels, 8, 5), torch.nn.Linear(8, num_classes)

    def forward(self, x):
        return Outputs(self.last(self.first(x).relu().mean((2, 3))))


def test_batches_that_are_accumulated_train_as_one_large_batch(data, monkeypatch):
    monkeypatch.setitem(MODELS, "PlainNetwork", f"{__name__}:PlainNetwork")
    table, bank, _ = data
    changes = {"model.name": "PlainNetwork", "training.precision": "fp32", "training.epochs": 2}
    base = Experiment().replace({"features.n_mels": 32, "input.crop_frames": 48} | changes)
    large, parts_of = (
        FoldTraining(base.replace(own), 0, table, bank, torch.device("cpu"))
        for own in ({"training.batch_size": 6}, {"training.batch_size": 2, "training.accumulate": 3})
    )

    def third(step):
        whole, own = large.make_batch(step // 3), slice(step % 3 * 2, step % 3 * 2 + 2)
        return Batch(whole.x[own], Targets(whole.targets.present[own], whole.targets.noisy[own]))

    parts_of.make_batch = third
    assert (large.steps, parts_of.steps, parts_of.updates) == (2, 6, 2)
    list(large.run_epoch())
    list(parts_of.run_epoch())
    assert large.loss_sum / 2 == pytest.approx(parts_of.loss_sum / 6, rel=1e-5)
    for own, other in zip(large.model.parameters(), parts_of.model.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_an_interrupted_training_with_accumulation_gives_the_same_bits(data, tmp_path):
    experiment = small(training__accumulate=2, optimizer__name="SGD", optimizer__momentum=0.9)
    whole, outcome = train(experiment, data, tmp_path / "whole")
    assert outcome.result["steps"] == 8  # of 3 batches an epoch: two, and the one that is left
    for more in (3, 3):
        polls = iter([False] * more + [True])
        _, stopped = train(experiment, data, tmp_path / "parts", should_stop=lambda polls=polls: next(polls))
        assert stopped.state == "interrupted"
    store, _ = train(experiment, data, tmp_path / "parts")
    assert content(store) == content(whole)


class Tempered(parts.Loss):
    """Cross-entropy of logits that are divided by a temperature, which is trained."""

    def build(self, num_classes):
        return TemperedModule(num_classes)


class TemperedModule(torch.nn.Module):
    def __init__(self, num_classes) -> None:
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.ones(num_classes))

    def forward(self, outputs, targets):
        return bce(outputs.clip.float() / self.temperature, targets.present).mean()


def test_a_loss_may_have_weights_that_survive_an_interruption(data, tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "Tempered", f"{__name__}:Tempered")
    experiment, (table, bank, _) = small(loss__name="Tempered", training__epochs=2), data
    training = FoldTraining(experiment, 0, table, bank, torch.device("cpu"))
    list(training.run_epoch())
    assert not torch.equal(training.loss.temperature, torch.ones(len(CLASSES)))
    whole, _ = train(experiment, data, tmp_path / "whole")
    asked = []
    store, _ = train(experiment, data, tmp_path / "parts", should_stop=lambda: asked.append(1) or len(asked) > 4)
    tensors = store.checkpoint()[0]
    assert tensors["loss.temperature"].shape == (len(CLASSES),)
    assert "optimizer.loss.temperature.exp_avg" in tensors
    train(experiment, data, tmp_path / "parts")
    assert content(store) == content(whole)
    assert not [name for name in store.weights() if "temperature" in name]


def test_a_finished_fold_is_not_trained_again(data, tmp_path):
    """argus-freesound trains it again, into the same folder."""
    _, first = train(small(), data, tmp_path)
    _, second = train(small(), data, tmp_path, report=lambda p: pytest.fail("trained again"))
    assert second.result == first.result


def test_seeds_and_folds_change_the_numbers_and_nothing_else_does(data, tmp_path):
    """argus-freesound seeds its draws with the clock, and torch's first weights and dropout with nothing."""
    a, _ = train(small(), data, tmp_path / "a")
    torch.manual_seed(99)
    b, _ = train(small(), data, tmp_path / "b")
    c, _ = train(small(training__seed=1), data, tmp_path / "c")
    assert content(a) == content(b)
    assert content(a)["oof.parquet"] != content(c)["oof.parquet"]


def test_it_learns_and_its_score_is_that_of_its_own_predictions(data, tmp_path):
    table, bank, _ = data
    experiment = small(training__epochs=20, input__mix_prob=0.0, input__resized_crop_prob=0.0)
    store, outcome = train(experiment, data, tmp_path)
    assert outcome.result["lwlrap"] > 0.8
    oof = store.oof()
    rows = np.flatnonzero(table.clips["fold"] == 0)
    assert oof["fname"].tolist() == table.clips["fname"].iloc[rows].tolist()
    assert outcome.result["lwlrap"] == lwlrap(table.targets(rows), oof[list(CLASSES)].to_numpy())
    assert outcome.result["accuracy"] is not None
    training = FoldTraining(experiment, 0, table, bank, torch.device("cpu"))
    training.model.load_state_dict(store.weights())
    again = predict(training.model, training.feed, rows, torch.device("cpu"))
    np.testing.assert_array_equal(again, oof[list(CLASSES)].to_numpy())


def test_test_clips_alone_are_predicted_from_the_tiles_that_are_asked_for(data, tmp_path):
    plain, _ = train(small(), data, tmp_path / "plain")
    changes = {"input__test_tile_step": 12, "input__test_shifts": 2}
    experiment = small(**changes)
    store, _ = train(experiment, data, tmp_path / "changed")
    same = {name for name, held in content(store).items() if held == content(plain)[name]}
    assert same == {"oof.parquet", "weights.safetensors"}
    table, bank, _ = data
    rows, model = table.rows("test"), FoldTraining(experiment, 0, table, bank, torch.device("cpu")).model
    model.load_state_dict(store.weights())
    feed = experiment.input.for_test().open(bank, experiment.features)
    found = predict(model, feed, rows, torch.device("cpu"))
    np.testing.assert_array_equal(store.test()[list(CLASSES)].to_numpy(), found)
    given = small(input__tile_step=12).input.open(bank, experiment.features)
    assert (feed.count_tiles(rows) == 2 * given.count_tiles(rows)).all()


def test_tiles_are_given_beside_what_they_are_pooled_to(data):
    table, bank, _ = data
    experiment, rows, device = small(input__tile_step=5), np.arange(len(bank)), torch.device("cpu")
    model = FoldTraining(experiment, 0, table, bank, device).model
    feed = experiment.input.open(bank, experiment.features)
    tiles: list[np.ndarray] = []
    pooled = predict(model, feed, rows, device, tiles=tiles)
    np.testing.assert_array_equal(pooled, predict(model, feed, rows, device))
    windows = Windows.of(experiment, feed, rows, np.concatenate(tiles))
    assert len(tiles) > 1
    assert windows.probabilities.dtype == np.float32
    for i in rows:
        np.testing.assert_allclose(windows.probabilities[windows.owner == i].mean(axis=0), pooled[i], atol=1e-6)
        alone, _ = feed.tiles(np.array([i]))
        expected = torch.sigmoid(model.eval()(alone.x).clip).detach().numpy()
        np.testing.assert_allclose(windows.probabilities[windows.owner == i], expected, atol=1e-6)
    second = 44100 / 690
    np.testing.assert_allclose(windows.end - windows.start, 48 / second)
    np.testing.assert_allclose(windows.start * second, feed.first_frames(rows)[0], atol=1e-9)
    halves = [
        Windows.of(experiment, feed, rows[part], windows.probabilities[np.isin(windows.owner, rows[part])])
        for part in (slice(10), slice(10, None))
    ]
    joined = Windows.joined([Windows.none(3), *halves])
    pd.testing.assert_frame_equal(joined.frame(bank.clips, CLASSES), windows.frame(bank.clips, CLASSES))


def test_early_stopping_and_best_epoch(data, tmp_path, monkeypatch):
    """The second epoch is the best; the fourth only equals it."""
    values, weights = iter([0.3, 0.6, 0.5, 0.6, 0.0]), []  # the last one is the fold's result

    def watched(model, *arguments):
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        return predict_middles(model, *arguments)

    monkeypatch.setattr("raytag.train.fold.lwlrap", lambda targets, scores: next(values))
    monkeypatch.setattr("raytag.train.fold.predict_middles", watched)
    experiment = small(training__epochs=30, training__early_stopping=2, training__keep_epoch="best")
    store, outcome = train(experiment, data, tmp_path)
    assert outcome.result["kept_epoch"] == 2
    assert outcome.result["epochs"] == len(store.curve()) == len(weights) == 4
    kept = store.weights()
    assert all(torch.equal(kept[name], value) for name, value in weights[1].items())
    assert not all(torch.equal(kept[name], value) for name, value in weights[3].items())


def test_sources_follow_their_probabilities_and_never_touch_the_fold(data):
    table, _, _ = data
    experiment = small(sampling__noisy_prob=0.25)
    parts = split(table, experiment.sampling, 1)
    batches = [draw_rows(parts.sources, 64, 0, 1, 0, step) for step in range(40)]
    noisy = np.concatenate([b.noisy for b in batches])
    rows = np.concatenate([b.rows for b in batches])
    partners = np.concatenate([b.partners for b in batches])
    assert 0.22 < noisy.mean() < 0.28
    subset = table.clips["subset"].to_numpy()
    assert (subset[rows[noisy]] == "noisy").all()
    assert (subset[partners[noisy]] == "noisy").all()
    assert (table.clips["fold"].to_numpy()[rows[~noisy]] == 0).all()
    assert (table.clips["fold"].to_numpy()[partners[~noisy]] == 0).all()
    assert set(rows[~noisy]) == set(np.flatnonzero(table.clips["fold"] == 0))
    np.testing.assert_array_equal(np.concatenate([b.present for b in batches]), table.targets(rows))


def test_noisy_clips_alone_can_be_trained_on(data, tmp_path):
    """An epoch is still as long as there are curated clips."""
    table, _, _ = data
    experiment = small(sampling__noisy_prob=1.0, training__epochs=1, training__early_stopping=None)
    batches = [draw_rows(split(table, experiment.sampling, 0).sources, 64, 0, step) for step in range(20)]
    assert all(batch.noisy.all() for batch in batches)
    _, outcome = train(experiment, data, tmp_path)
    assert outcome.result["steps"] == 12 // experiment.training.batch_size


def test_corrections_change_training_and_validation_but_not_the_score(data, tmp_path):
    table, _, _ = data
    curated, noisy = tmp_path / "curated.json", tmp_path / "noisy.json"
    curated.write_text(json.dumps({"0.wav": "remove", "1.wav": "c", "3.wav": "remove", "4.wav": "a,b"}))
    noisy.write_text(json.dumps({"24.wav": "b", "25.wav": "remove"}))
    experiment = small(
        sampling__curated_corrections=str(curated),
        sampling__noisy_corrections=str(noisy),
        sampling__noisy_prob=0.2,
        sampling__corrected_noisy_prob=0.3,
    )
    parts = split(table, experiment.sampling, 0)
    by_name = {s.name: s for s in parts.sources}
    assert 3 not in by_name["curated"].rows
    assert by_name["curated"].targets[by_name["curated"].rows.tolist().index(4)].tolist() == [1, 1, 0]
    assert 0 not in parts.validation
    assert 0 in parts.oof
    assert parts.validation_targets[parts.validation.tolist().index(1)].tolist() == [0, 0, 1]
    assert by_name["corrected_noisy"].rows.tolist() == [24]
    assert by_name["corrected_noisy"].targets.tolist() == [[0, 1, 0]]
    assert not by_name["corrected_noisy"].noisy
    assert by_name["noisy"].noisy
    assert by_name["noisy"].rows.tolist() == [26, 27, 28, 29]  # neither removed nor in another source


def test_corrected_labels_stop_a_training_and_original_ones_score_it(data, tmp_path, monkeypatch):
    """As in argus-freesound: scores of experiments with other corrections are of the same clips and labels."""
    table, _, _ = data
    corrections, scored = tmp_path / "curated.json", []
    corrections.write_text(json.dumps({"0.wav": "remove", "1.wav": "c"}))
    monkeypatch.setattr(
        "raytag.train.fold.lwlrap", lambda targets, scores: scored.append(targets) or lwlrap(targets, scores)
    )
    experiment = small(sampling__curated_corrections=str(corrections), training__epochs=1)
    store, outcome = train(experiment, data, tmp_path / "fold")
    original = table.targets(np.flatnonzero(table.clips["fold"] == 0))
    corrected = original[1:].copy()
    corrected[0] = [0, 0, 1]
    for targets, expected in zip(scored, (corrected, original), strict=True):
        np.testing.assert_array_equal(targets, expected)
    assert outcome.result["lwlrap"] == lwlrap(original, store.oof()[list(CLASSES)].to_numpy())
    assert outcome.result["clips"] == len(original) == 12


@pytest.mark.parametrize(
    ("pool", "corrected_prob", "rows", "label_of_24"),
    [
        (None, 0.3, [26, 27, 28, 29], None),
        (None, 0.0, [24, 26, 27, 28, 29], "b"),
        ("rest", 0.0, [26, 27, 28, 29], None),
        ("all", 0.3, [24, 26, 27, 28, 29], "b"),
        ("listed", 0.3, [24], "b"),
        ("original", 0.3, [24, 25, 26, 27, 28, 29], "a"),
    ],
)
def test_the_noisy_source_has_the_clips_of_its_pool(data, tmp_path, pool, corrected_prob, rows, label_of_24):
    """In argus-freesound's noisy source are the clips with corrected labels too, which are a source of their
    own."""
    table, _, _ = data
    noisy = tmp_path / "noisy.json"
    noisy.write_text(json.dumps({"24.wav": "b", "25.wav": "remove"}))
    experiment = small(
        sampling__noisy_corrections=str(noisy),
        sampling__noisy_prob=0.2,
        sampling__corrected_noisy_prob=corrected_prob,
        sampling__noisy_pool=pool,
    )
    by_name = {s.name: s for s in split(table, experiment.sampling, 0).sources}
    assert by_name["noisy"].rows.tolist() == rows
    if label_of_24 is not None:
        assert by_name["noisy"].targets[0].tolist() == [float(c == label_of_24) for c in CLASSES]
    if corrected_prob:
        assert by_name["corrected_noisy"].targets.tolist() == [[0, 1, 0]]
        in_both = set(by_name["noisy"].rows) & set(by_name["corrected_noisy"].rows)
        assert bool(in_both) == (pool in ("all", "listed", "original"))


def test_a_pool_is_part_of_the_identity_where_it_changes_what_is_drawn(data, tmp_path):
    noisy = tmp_path / "noisy.json"
    noisy.write_text(json.dumps({"24.wav": "b"}))
    fields = {"sampling__noisy_corrections": str(noisy), "sampling__noisy_prob": 0.2}
    drawn = fields | {"sampling__corrected_noisy_prob": 0.3}
    assert small(**drawn).hash == small(**drawn, sampling__noisy_pool="rest").hash
    assert len({small(**drawn, sampling__noisy_pool=pool).hash for pool in ("rest", "all", "listed")}) == 3
    assert "noisy_pool" in small(**drawn).canonical_json()
    assert "noisy_pool" not in small(**fields).canonical_json()
    with pytest.raises(ValueError, match="it needs that file"):
        small(sampling__noisy_pool="rest")


def test_what_cannot_be_trained_is_said(data, tmp_path):
    table, _, _ = data
    with pytest.raises(ValueError, match="fold 5 has 24 training and 0 validation"):
        split(table, small().sampling, 5)
    without = table.drop(table.clips["clip"][table.clips["subset"] == "noisy"].tolist())
    with pytest.raises(ValueError, match=r"noisy_prob is 0\.3, but the dataset has no noisy clips"):
        split(without, small(sampling__noisy_prob=0.3).sampling, 0)
    with pytest.raises(FloatingPointError, match=r"diverged in epoch \d+.*optimizer\.lr"):
        train(small(optimizer__lr=1e12, training__precision="fp32"), data, tmp_path)


def test_epochs_are_whole_batches():
    sampling, rows = Experiment().sampling, np.zeros(100, np.int64)
    sources = [Source("curated", rows, rows, False, 1), Source("noisy", rows, rows, True, 1)]
    assert steps_per_epoch(sampling, 16, sources) == 6
    assert steps_per_epoch(sampling, 128, sources) == 1
    assert steps_per_epoch(sampling.model_copy(update={"samples_per_epoch": 32768}), 128, sources) == 256
    whole = sampling.model_copy(update={"epoch": "pass"})
    assert [steps_per_epoch(whole, size, sources) for size in (16, 128, 300)] == [12, 1, 1]


def test_batches_made_ahead_are_the_same_batches(data):
    """What a GPU would be fed from the background thread equals what the CPU path makes."""
    table, bank, _ = data
    training = FoldTraining(small(), 0, table, bank, torch.device("cpu"))
    direct = [training.make_batch(step) for step in range(training.steps)]
    training.device = torch.device("cuda")  # only the way batches are made is looked at
    ahead = list(training.batches())
    assert len(ahead) == len(direct) == training.steps
    for a, b in zip(direct, ahead, strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.targets.present, b.targets.present)
        assert torch.equal(a.targets.noisy, b.targets.noisy)


def test_every_step_of_every_epoch_has_draws_of_its_own(data, monkeypatch):
    """The batch's from a generator, dropout's from torch's own, which is seeded anew."""
    table, bank, _ = data
    training, seeds, images = FoldTraining(small(), 0, table, bank, torch.device("cpu")), [], set()
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    for training.epoch in (0, 1):
        training.step = 0
        images |= {training.make_batch(step).x.numpy().tobytes() for step in range(training.steps)}
        list(training.run_epoch())
    assert training.steps > 1
    assert len(images) == len(set(seeds)) == len(seeds) == 2 * training.steps


# no epoch is twice as good as the best before it: the rate falls after each but the first
PLATEAU = {"schedule__name": "plateau", "schedule__patience": 0, "schedule__threshold": 1.0}


@pytest.fixture
def run(data, tmp_path):
    return RunStore.open_for(str(tmp_path / "runs"), "r", data[0], "here")


def train_in(run, experiment, data, **options):
    """As a trial does: from the last checkpoint of a shorter twin where there is one."""
    table, bank, _ = data
    run.add(experiment)
    store, twin = run.fold(experiment.id, 0), shorter_twin(run, experiment, 0, "cpu")
    return store, train_fold(experiment, 0, table, bank, store, twin=twin, **options)


def checkpoints(store):
    return [name for name in store.storage.files() if name.startswith("checkpoint")]


@pytest.mark.parametrize("keep_epoch", ["best", "last"])
def test_more_epochs_go_on_from_shorter_twins_to_the_same_bits(data, tmp_path, run, keep_epoch):
    """1, then 2, then 3 epochs, the last of them in two parts; and 3 without any of that."""
    changes, trained = PLATEAU | {"training__keep_epoch": keep_epoch}, []
    first, _ = train_in(run, small(training__epochs=1, **changes), data)
    before = {name: first.storage.read(name) for name in first.storage.files()}
    assert len(checkpoints(first)) == 2  # one state, its tensors and its JSON
    two, three = small(training__epochs=2, **changes), small(training__epochs=3, **changes)
    second, _ = train_in(run, two, data, report=lambda p: trained.append((p.epoch, p.resumed_from)))
    asked = []
    train_in(run, three, data, should_stop=lambda: asked.append(1) or len(asked) > 1)
    third, outcome = train_in(run, three, data, report=lambda p: trained.append((p.epoch, p.resumed_from)))
    assert trained == [(2, 1), (3, 2)]
    assert first.result()["continued_from"] is None
    assert second.result()["continued_from"] == first.result()["experiment"]
    assert outcome.result["continued_from"] == two.id
    assert outcome.result["epochs"] == 3
    whole, fresh = train(three, data, tmp_path / "whole")
    assert content(third) == content(whole)
    assert outcome.result["kept_epoch"] == fresh.result["kept_epoch"]
    columns = ["epoch", "lr", "train_loss", "lwlrap"]
    pd.testing.assert_frame_equal(third.curve()[columns], whole.curve()[columns])
    assert len(set(whole.curve()["lr"])) > 1  # the rate fell, in a way that the twins had to agree on
    assert {name: first.storage.read(name) for name in first.storage.files()} == before


def test_a_twin_that_stopped_early_is_taken_over_for_more_epochs_change_nothing(data, tmp_path, run):
    changes = PLATEAU | {"training__early_stopping": 1, "training__keep_epoch": "best"}
    shorter, outcome = train_in(run, small(training__epochs=29, **changes), data)
    assert outcome.result["epochs"] < 29
    assert checkpoints(shorter) == []  # which would take four times the room of the weights
    longer = small(training__epochs=30, **changes)
    store, outcome = train_in(run, longer, data, report=lambda p: pytest.fail("trained again"))
    assert outcome.result["continued_from"] == shorter.result()["experiment"]
    assert store.result() == outcome.result
    whole, fresh = train(longer, data, tmp_path / "whole")
    assert content(store) == content(whole)
    same = ("experiment", "lwlrap", "epochs", "kept_epoch", "steps", "stopped_early")
    assert [outcome.result[name] for name in same] == [fresh.result[name] for name in same]
    shorter.storage.delete("weights.safetensors")  # as raytag prune does
    store.storage.delete("weights.safetensors")
    assert shorter_twin(run, small(training__epochs=31, **changes), 0, "cpu") is None


def test_a_cycle_is_as_long_as_its_training_so_a_longer_one_starts_afresh(data, tmp_path, run):
    shorter, _ = train_in(run, small(training__epochs=2), data)
    assert checkpoints(shorter) == []
    store, outcome = train_in(run, small(training__epochs=3), data)
    assert (outcome.result["resumed_from"], outcome.result["continued_from"]) == (0, None)
    whole, _ = train(small(training__epochs=3), data, tmp_path / "whole")
    assert content(store) == content(whole)
    assert (store.curve()["lr"][:2] != shorter.curve()["lr"]).any()


def test_only_a_shorter_twin_with_its_last_checkpoint_is_gone_on_from(data, tmp_path, run):
    corrections = tmp_path / "corrections.json"
    corrections.write_text('{"0.wav": "c"}')
    changes = PLATEAU | {"training__epochs": 2, "sampling__curated_corrections": str(corrections)}
    own = small(**changes)
    store, _ = train_in(run, own, data)

    def twin(fold=0, device="cpu", **other):
        found = shorter_twin(run, small(**changes | {"training__epochs": 3} | other), fold, device)
        return found and found.storage.root

    assert twin() == store.storage.root
    assert twin(training__epochs=700) == store.storage.root
    assert twin(training__epochs=2) is None
    assert twin(optimizer__lr=2e-2) is None
    assert twin(training__seed=1) is None
    assert twin(training__early_stopping=3) is None
    assert twin(fold=1) is None
    assert twin(device="cuda") is None  # sums in another order: not the bits of a fresh run there
    result = store.result()
    store.storage.write_json("result.json", {**result, "precision": "trained elsewhere"})
    assert twin() is None
    store.storage.write("result.json", b"damaged")
    assert twin() is None
    store.storage.write_json("result.json", result)
    corrections.write_text('{"0.wav": "b"}')
    assert twin() is None
    corrections.write_text('{"0.wav": "c"}')
    for name in checkpoints(store):  # as raytag prune does
        store.storage.delete(name)
    assert twin() is None
