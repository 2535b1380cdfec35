"""The experiment: one frozen value, changed by dotted keys, named by its content."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from raytag.experiment import Experiment, Features, Sampling, data_needs
from raytag.features.manifest import feature_hash
from raytag.models import MODELS
from raytag.models.skip_attention import AuxSkipAttention


def test_defaults_are_the_published_values():
    e = Experiment()
    assert (e.features.n_fft, e.features.hop_length, e.features.n_mels) == (2560, 690, 128)
    assert (e.training.batch_size, e.optimizer.lr, e.loss.beta) == (128, 9e-4, 0.7)
    assert (e.schedule.patience, e.schedule.factor, e.training.early_stopping) == (6, 0.6, 18)


def test_identity_follows_every_field_but_the_name():
    """argus-freesound's numbers are constants, and an experiment is a name and a commit."""
    e = Experiment()
    assert e.hash == Experiment(name="other").hash
    assert Experiment(name="other").id == f"other-{e.hash}"
    hashes = {e.hash}
    for key, value in {"training.epochs": 3, "training.seed": 1, "training.precision": "fp32"}.items():
        hashes.add(e.replace({key: value}).hash)
    assert len(hashes) == 4


#: Hashes that must never change: folders in people's runs are named by them.
LASTING = {
    "855fd40b": {},
    "6011f08d": {"sampling.noisy_prob": 0.2},
    "20e7e1ed": {"features.n_mels": 64, "features.short_clip": "file_start"},
    "9624c47a": {"model.name": "SkipAttention", "model.base_size": 16, "loss.name": "BCE", "optimizer.name": "SGD"},
    "638591d5": {"schedule.name": "OneCycle", "schedule.warmup_share": 0.1, "input.num_masks": [1, 3]},
}


@pytest.mark.parametrize("expected", LASTING)
def test_identities_last(expected):
    assert Experiment().replace(LASTING[expected]).hash == expected


def test_feature_sets_last():
    assert feature_hash(Features()) == "3da2733d93b95441"
    assert feature_hash(Features(n_mels=64, hop_length=512)) == "9f1d1d16b667de96"


def test_a_field_or_member_that_comes_later_moves_no_identity(monkeypatch):
    """A new field with a default, in a part, in a member and in the experiment; a new member in each family."""
    before = {name: Experiment().replace(changes).canonical_json() for name, changes in LASTING.items()}

    class LaterNetwork(AuxSkipAttention):
        colour: str = "blue"

    class LaterSampling(Sampling):
        temperature: float = 0.5

    monkeypatch.setitem(MODELS, "LaterNetwork", f"{__name__}:LaterNetwork")
    monkeypatch.setitem(globals(), "LaterNetwork", LaterNetwork)

    class LaterExperiment(Experiment):
        sampling: LaterSampling = LaterSampling()
        later_part: LaterSampling = LaterSampling()

    for name, changes in LASTING.items():
        assert LaterExperiment().replace(changes).canonical_json() == before[name]
    own = LaterExperiment().replace({"model.name": "LaterNetwork", "sampling.temperature": 1})
    assert json.loads(own.canonical_json())["model"] == {"name": "LaterNetwork"}
    assert json.loads(own.canonical_json())["sampling"] == {"temperature": 1.0}


def test_a_field_that_the_chosen_member_lacks_is_an_error_that_names_who_has_it():
    with pytest.raises(ValueError, match="the loss OnlyNoisyLSoft has no field 'q'; OnlyNoisyLq has it"):
        Experiment().replace({"loss.q": 0.5})
    with pytest.raises(ValueError, match="the schedule OneCycle has no field 'patience'; Plateau has it"):
        Experiment().replace({"schedule.name": "one_cycle", "schedule.patience": 3})


FOR_NOISY = ("noisy_prob", "corrected_noisy_prob", "noisy_corrections", "noisy_pool", "noisy_share")


def test_fields_say_what_they_need_of_the_data():
    needs = data_needs([Experiment()])
    assert set(needs) == {f"sampling.{n}" for n in FOR_NOISY}
    assert all(need.what == "noisy clips" for need in needs.values())
    Experiment().replace({key: need.neutral for key, need in needs.items()})


def test_a_fault_of_several_fields_is_not_buried_under_all_of_them():
    with pytest.raises(ValueError, match="tile_step 300 is above") as error:
        Experiment().replace({"input.tile_step": 300})
    assert len(str(error.value)) < 150


def test_json_round_trip_keeps_the_identity():
    e = Experiment().replace({"input.num_masks": "[1, 3]", "sampling.samples_per_epoch": "none"})
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


def test_identity_is_a_value_and_no_read_of_the_disk(tmp_path):
    path = tmp_path / "corrections.json"
    path.write_text(json.dumps({"x.wav": "remove"}))
    e = Experiment().replace({"sampling.curated_corrections": str(path)})
    before, text = e.hash, path.read_text()
    path.write_text(json.dumps({"x.wav": "remove", "y.wav": "remove"}))
    assert (e.hash, e.sampling.curated_corrections.text) == (before, text)
    path.unlink()
    assert e.hash == e.replace({"model.base_size": 8}).replace({"model.base_size": 64}).hash == before
    again = Experiment.from_json(e.to_json())
    assert again == e
    assert (again.hash, again.sampling.curated_corrections.text) == (before, None)
    assert text not in e.to_json()


def test_a_missing_corrections_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"sampling\.curated_corrections: corrections file .*gone\.json: No such"):
        Experiment().replace({"sampling.curated_corrections": str(tmp_path / "gone.json")})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.basesize": 8}, "model.base_size"),
        ({"base_size": 8}, "model.base_size"),
        ({"model.base_size": "many"}, "model.base_size: "),
        ({"model.base_size": 0}, "greater than or equal to 1"),
        ({"input.mix_prob": "1.5"}, "input.mix_prob"),
        ({"augment.crop_frames": 64}, "did you mean input.crop_frames"),
        ({"features.fmax": 30000}, "at most half of sample_rate"),
        ({"sampling.noisy_prob": 0.7, "sampling.corrected_noisy_prob": 0.7}, "at most 1"),
        ({"input.num_masks": [3, 1]}, "num_masks"),
        ({"optimizer.lr": float("nan")}, "optimizer.lr"),
    ],
)
def test_wrong_changes_name_the_key(changes, words):
    with pytest.raises(ValueError, match=words):
        Experiment().replace(changes)


def test_unknown_fields_of_a_file_are_errors():
    with pytest.raises(ValidationError, match="bogus"):
        Experiment.model_validate({"bogus": 1})
