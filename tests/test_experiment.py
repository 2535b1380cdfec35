"""The experiment: one frozen value, changed by dotted keys, named by its content."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from raytag.experiment import Experiment, data_needs


def test_defaults_are_the_published_values():
    e = Experiment()
    assert (e.features.n_fft, e.features.hop_length, e.features.n_mels) == (2560, 690, 128)
    assert (e.training.batch_size, e.optimizer.lr, e.loss.beta) == (128, 9e-4, 0.7)
    assert (e.schedule.patience, e.schedule.factor, e.training.early_stopping) == (6, 0.6, 18)


def test_identity_follows_every_field_but_the_name():
    e = Experiment()
    assert e.hash == Experiment(name="other").hash
    assert Experiment(name="other").id == f"other-{e.hash}"
    hashes = {e.hash}
    for key, value in {"training.epochs": 3, "training.seed": 1, "training.precision": "fp32"}.items():
        hashes.add(e.replace({key: value}).hash)
    assert len(hashes) == 4


def test_identities_last():
    assert Experiment().hash == "ef020601"
    assert Experiment().replace({"sampling.noisy_prob": 0.2}).hash == "96cc6389"
    assert Experiment().replace({"features.n_mels": 64, "features.short_clip": "file_start"}).hash == "b185d121"


def test_the_channel_counts_only_where_it_was_chosen():
    """Finished runs keep their results: experiments had no such field at first."""
    first = Experiment()
    assert '"channel":' not in first.canonical_json()
    assert first.replace({"features.channel": "mix"}).hash == first.hash
    assert len({first.hash, *(first.replace({"features.channel": c}).hash for c in ("loudest", "first"))}) == 3
    old = json.loads(first.to_json())
    del old["features"]["channel"]
    assert Experiment.from_json(json.dumps(old)) == first


def test_fields_say_what_they_need_of_the_data():
    needs = data_needs()
    assert set(needs) == {f"sampling.{n}" for n in ("noisy_prob", "corrected_noisy_prob", "noisy_corrections")}
    assert all(need.what == "noisy clips" for need in needs.values())
    Experiment().replace({key: need.neutral for key, need in needs.items()})


def test_a_fault_of_several_fields_is_not_buried_under_all_of_them():
    with pytest.raises(ValueError, match="tile_step 300 is above") as error:
        Experiment().replace({"training.tile_step": 300})
    assert len(str(error.value)) < 150


def test_json_round_trip_keeps_the_identity():
    e = Experiment().replace({"augment.num_masks": "[1, 3]", "sampling.samples_per_epoch": "none"})
    again = Experiment.from_json(e.to_json())
    assert again == e
    assert again.hash == e.hash


def test_corrections_count_by_content(tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"x.wav": "remove"}))
    second.write_text(json.dumps({"x.wav": "remove"}))
    e = Experiment()
    a = e.replace({"sampling.curated_corrections": str(first)})
    assert a.hash == e.replace({"sampling.curated_corrections": str(second)}).hash
    second.write_text(json.dumps({"y.wav": "remove"}))
    assert a.hash != e.replace({"sampling.curated_corrections": str(second)}).hash


def test_a_missing_corrections_file_is_named(tmp_path):
    e = Experiment().replace({"sampling.curated_corrections": str(tmp_path / "gone.json")})
    with pytest.raises(ValueError, match=r"gone\.json"):
        e.canonical_json()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.basesize": 8}, "model.base_size"),
        ({"base_size": 8}, "model.base_size"),
        ({"model.base_size": "many"}, "model.base_size: "),
        ({"model.base_size": 0}, "greater than or equal to 1"),
        ({"mixers.prob": "1.5"}, "mixers.prob"),
        ({"features.fmax": 30000}, "at most half of sample_rate"),
        ({"sampling.noisy_prob": 0.7, "sampling.corrected_noisy_prob": 0.7}, "at most 1"),
        ({"augment.num_masks": [3, 1]}, "num_masks"),
        ({"optimizer.lr": float("nan")}, "optimizer.lr"),
    ],
)
def test_wrong_changes_name_the_key(changes, words):
    with pytest.raises(ValueError, match=words):
        Experiment().replace(changes)


def test_unknown_fields_of_a_file_are_errors():
    with pytest.raises(ValidationError, match="bogus"):
        Experiment.model_validate({"bogus": 1})
