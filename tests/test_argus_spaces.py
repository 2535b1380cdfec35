"""The spaces of argus-freesound hold the published values, whatever corrections files there are."""

from __future__ import annotations

import json

import pytest

from raytag import space
from raytag.experiment import NOISY_CLIPS
from tests.members import experiment_with

SMALL = {
    "model.base_size": "16",
    "training.batch_size": "16",
    "sampling.samples_per_epoch": "none",
    "schedule.name": "OneCycle",
    "training.early_stopping": "none",
    "training.epochs": "22",
}
#: network, classifier's width, dropout, size of the spatial attention
SKIP, AUX, RNN = ("SkipAttention", 2, 0.2), ("AuxSkipAttention", 4, 0.4), ("RnnAuxSkipAttention", 4, 0.4)
#: network, kernel, noisy, relabelled and mixed shares, resized crop: probability, scale, ratio; pool of noisy clips
PUBLISHED = {
    "corrections_002": (SKIP, 7, 0.33, 0.0, 0.66, 0.0, None, None, None),
    "corrections_003": (SKIP, 3, 0.33, 0.0, 0.66, 0.0, None, None, None),
    "auxiliary_016": (AUX, 7, 0.2, 0.0, 0.8, 0.33, (0.8, 1.0), (1.7, 2.3), None),
    "auxiliary_019": (AUX, 7, 0.2, 0.0, 0.8, 0.33, (0.75, 1.0), (1.6, 2.4), None),
    "corr_noisy_003": (RNN, 7, 0.1, 0.2, 0.8, 0.33, (0.8, 1.0), (1.7, 2.3), "original"),
    "corr_noisy_004": (AUX, 7, 0.07, 0.33, 0.8, 0.33, (0.8, 1.0), (1.7, 2.3), "listed"),
    "corr_noisy_007": (AUX, 7, 0.01, 0.42, 0.8, 0.33, (0.8, 1.0), (1.7, 2.3), "all"),
}


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """A folder of a launch with all corrections files, each with other content."""
    (tmp_path / "corrections").mkdir()
    for name in PUBLISHED:
        for kind in (name, f"{name}.noisy"):
            (tmp_path / "corrections" / f"{kind}.json").write_text(json.dumps({f"{kind}.wav": "remove"}))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "corrections"


def test_the_seven_winners_are_seven_values(brought):
    winners = space.load("argus_winners")
    assert {e.name for e in winners.firsts} == set(PUBLISHED)
    assert winners.notes == ()
    for e in winners.firsts:
        network, kernel, noisy, relabelled, mixed, resized, scale, ratio, pool = PUBLISHED[e.name]
        assert (e.model.name, e.model.last_fc, e.model.dropout) == network
        assert (e.model.base_size, e.model.ratio, e.model.last_filters, e.model.kernel_size) == (64, 16, 8, kernel)
        assert (e.sampling.noisy_prob, e.sampling.corrected_noisy_prob) == (noisy, relabelled)
        assert (e.input.mix_prob, e.input.resized_crop_prob) == (mixed, resized)
        if resized:
            assert (e.input.resized_crop_scale, e.input.resized_crop_ratio) == (scale, ratio)
        assert e.sampling.noisy_pool == pool
        assert e.sampling.curated_corrections.file.endswith(f"corrections/{e.name}.json")
        assert (e.sampling.noisy_corrections is not None) == (pool is not None)
        assert (e.sampling.samples_per_epoch, e.training.batch_size, e.training.epochs) == (32768, 128, 700)
        assert (e.training.early_stopping, e.training.keep_epoch) == (18, "best")
        assert (e.optimizer.name, e.optimizer.lr, e.optimizer.weight_decay) == ("Adam", 9e-4, 0.0)
        assert (e.schedule.name, e.schedule.patience, e.schedule.factor) == ("Plateau", 6, 0.6)
        assert (e.loss.name, e.loss.beta, e.loss.noisy_weight, e.loss.curated_weight) == (
            "OnlyNoisyLSoft",
            0.7,
            0.5,
            0.5,
        )
        assert e.loss.aux_weights == (1.0, 0.4, 0.2, 0.1)
        assert (e.input.crop_frames, e.input.tile_step, e.input.wrap_pad_prob) == (256, 64, 0.5)
        assert (e.input.specaugment_prob, e.input.num_masks) == (0.5, (1, 2))
        assert (e.input.freq_mask_fraction, e.input.time_mask_fraction) == (0.15, 0.2)
        assert (e.input.sigmoid_share, e.input.sigmoid_radius, e.input.add_max_alpha) == (0.6, (3, 12), 0.5)
        assert e.features.pad_mode == "reflect"
        assert e.features.short_clip == "sound"  # the fault is not among the values


def test_corrections_files_count_by_their_content(brought):
    before = {e.name: e.hash for e in space.load("argus_winners").firsts}
    (brought / "corr_noisy_004.noisy.json").write_text('{"other.wav": "remove"}')
    after = {e.name: e.hash for e in space.load("argus_winners").firsts}
    assert {name for name in before if before[name] != after[name]} == {"corr_noisy_004"}


def test_what_is_missing_is_said_and_drawn_from_curated_clips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    winners = space.load("argus_winners")
    assert winners.notes == (
        f"No corrections/NAME.json: {', '.join(PUBLISHED)} train on curated labels as they are",
        "No corrections/NAME.noisy.json: corr_noisy_003, corr_noisy_004, corr_noisy_007 draw curated clips instead "
        "of relabelled noisy ones",
    )
    for e in winners.firsts:
        assert e.sampling.corrected_noisy_prob == 0
        assert e.sampling.noisy_prob == PUBLISHED[e.name][2]
    assert len({e.hash for e in winners.firsts}) == 7


def test_one_missing_file_is_named_alone(brought):
    (brought / "auxiliary_019.json").unlink()
    assert space.load("argus_winners").notes == (
        "No corrections/NAME.json: auxiliary_019 train on curated labels as they are",
    )


def test_data_without_noisy_clips_leave_what_differs_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted = space.load("argus_winners").fit((), {})
    assert [e.name for e in fitted.firsts] == [
        "corrections_002",
        "corrections_003",
        "auxiliary_016",
        "auxiliary_019",
        "corr_noisy_003",
    ]
    assert any("No corrections" in note for note in fitted.notes)
    assert any("5 of the 7 experiments are left" in note for note in fitted.notes)
    kept = space.load("argus_winners").fit({NOISY_CLIPS}, {})
    assert len(kept.firsts) == 7


@pytest.mark.parametrize("name", ["argus_winners", "argus_finetune", "argus_random_search"])
def test_the_small_forms_of_the_help_are_taken(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = space.load(name)
    for key in SMALL:
        if key.startswith(("model", "training.batch", "sampling")):
            assert f"--set {key}={SMALL[key]}" in chosen.help, key
    small = chosen.fix(SMALL)
    for e in (*small.firsts, *small.earlier):
        assert (e.model.base_size, e.training.epochs, e.sampling.samples_per_epoch) == (16, 22, None)


def test_after_training_goes_on_from_the_winners_themselves(brought):
    winners, tuned = space.load("argus_winners"), space.load("argus_finetune")
    assert [e.init.parent.hash for e in tuned.firsts] == [e.hash for e in winners.firsts]
    for child, parent in zip(tuned.firsts, winners.firsts, strict=True):
        assert child.name == f"{parent.name}_finetuned"
        assert (child.optimizer.lr, child.training.epochs, child.training.early_stopping) == (3e-4, 150, None)
        assert child.schedule == experiment_with("schedule", "CosineRestarts").schedule
        assert (child.schedule.first_epochs, child.schedule.times, child.schedule.min_lr) == (10, 2, 1e-5)
        assert (child.input.mix_prob, child.sampling.noisy_prob) == (0.66, 0.33)
        assert child.model == parent.model
    (brought / "auxiliary_016.json").unlink()
    assert space.load("argus_finetune").notes == space.load("argus_winners").notes != ()


def test_the_random_search_draws_from_the_published_ranges():
    chosen = space.load("argus_random_search")
    drawn = [chosen.sample(0, i) for i in range(1, 200)]
    assert {e.optimizer.lr for e in drawn} == {1e-3, 6e-4, 3e-4}
    assert {e.schedule.patience for e in drawn} == set(range(2, 10))
    for low, high, key in (
        (0.1, 0.3, "model.dropout"),
        (0.0, 1.0, "input.sigmoid_share"),
        (0.0, 1.0, "sampling.noisy_prob"),
        (0.2, 0.8, "loss.beta"),
        (0.3, 0.7, "loss.noisy_weight"),
        (0.5, 0.8, "schedule.factor"),
    ):
        values = [e.flat()[key] for e in drawn]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    for e in drawn:
        assert (e.model.name, e.input.crop_frames, e.loss.curated_weight) == ("SimpleKaggle", 128, None)
        assert (e.training.epochs, e.training.early_stopping, e.training.batch_size) == (100, 20, 128)
