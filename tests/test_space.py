"""Search spaces: found by name or path, checked when loaded, drawn as functions of (seed, index)."""

from __future__ import annotations

import pytest

from raytag import space
from raytag.experiment import Experiment
from raytag.space import Choice, SpaceError, Uniform

SMALL = """
from raytag.experiment import Experiment
from raytag.space import choice, loguniform, uniform
BASE = Experiment()
VARY = {
    "optimizer.lr": loguniform(1e-4, 1e-2),
    "model.dropout": uniform(0.0, 0.5),
    "input.num_masks": choice([(1, 1), (1, 2)]),
}
"""


def write(tmp_path, text, name="small"):
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    return str(path)


def test_the_shipped_space_draws_its_base_first():
    s = space.load("specaug_mixup")
    assert s.sample(7, 0) == s.base
    assert s.first.id.startswith("specaug_mixup-")
    drawn = [s.sample(0, i) for i in range(12)]
    assert len({e.hash for e in drawn}) == 12
    assert drawn == [s.sample(0, i) for i in range(12)]
    assert [e.hash for e in drawn[1:]] != [s.sample(1, i).hash for i in range(1, 12)]


def test_only_varied_fields_vary(tmp_path):
    s = space.load(write(tmp_path, SMALL))
    for i in range(1, 30):
        e = s.sample(3, i)
        flat, base = e.flat(), s.base.flat()
        assert {k for k in flat if flat[k] != base[k]} <= set(s.vary)
        assert 1e-4 <= e.optimizer.lr <= 1e-2


def test_a_fixed_field_varies_no_more(tmp_path):
    s = space.load(write(tmp_path, SMALL)).fix({"model.dropout": "0.25", "model.base_size": "8"})
    assert set(s.vary) == {"optimizer.lr", "input.num_masks"}
    assert {(s.sample(0, i).model.dropout, s.sample(0, i).model.base_size) for i in range(5)} == {(0.25, 8)}


def test_grid_has_every_point_once_after_the_base(tmp_path):
    s = space.load(write(tmp_path, SMALL))
    points = s.grid(0, 100)
    assert points[0] == s.base
    values = {(e.optimizer.lr, e.model.dropout, e.input.num_masks) for e in points[1:]}
    assert len(values) == s.grid_size() == 18
    assert [e.hash for e in s.grid(0, 5)] == [e.hash for e in points[:5]]


def test_lists_of_experiments(tmp_path):
    s = space.load(
        write(
            tmp_path, "from raytag.experiment import *\nEXPERIMENTS = [Experiment(name='a'), Experiment(name='b')]"
        )
    )
    assert [s.sample(0, i).name for i in range(2)] == ["a", "b"]
    assert len(s.fix({"model.base_size": 8}).experiments) == 1  # a and b differ in name alone


def test_distributions():
    assert Uniform(1.0, 100.0, log=True).at(0.5) == 10.0
    assert Uniform(0.0, 1.0).grid() == [0.0, 0.5, 1.0]
    assert Choice((1, 2)).grid() == [1, 2]
    with pytest.raises(SpaceError):
        Uniform(2.0, 1.0)
    with pytest.raises(SpaceError):
        space.loguniform(0.0, 1.0)
    with pytest.raises(SpaceError):
        space.choice([])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X = 1", "define either BASE"),
        ("BASE = 3", "must be an Experiment, not int"),
        ("EXPERIMENTS = []", "not empty"),
        ("import nowhere_at_all", "ModuleNotFoundError"),
        (SMALL + "VARY['model.droput'] = uniform(0, 1)", "did you mean model.dropout"),
        (SMALL + "VARY['model.dropout'] = 0.3", "must be uniform"),
        (SMALL + "VARY['model.dropout'] = uniform(0, 2)", "model.dropout"),
    ],
)
def test_faulty_files_are_named(tmp_path, text, words):
    path = write(tmp_path, text, "faulty")
    with pytest.raises(SpaceError, match=words) as error:
        space.load(path)
    assert "faulty.py" in str(error.value)


def test_features_are_one_for_a_launch(tmp_path):
    s = space.load(write(tmp_path, SMALL + "VARY['features.n_mels'] = choice([64, 128])"))
    with pytest.raises(SpaceError, match=r"features\.n_mels differ.*--set features\.n_mels=VALUE"):
        _ = s.features
    assert s.fix({"features.n_mels": 64}).features.n_mels == 64


def test_an_unknown_name_lists_the_near_ones():
    with pytest.raises(SpaceError, match="did you mean specaug_mixup"):
        space.load("specaug_mixupp")
    with pytest.raises(SpaceError, match=r"no space file gone\.py"):
        space.load("gone.py")


NOISY = "from raytag.experiment import *\nfrom raytag.space import *\n"
NOISY_VARY = NOISY + "BASE = Experiment()\nVARY = {'sampling.noisy_prob': %s, 'model.dropout': uniform(0.0, 0.5)}\n"


def test_fields_that_the_data_cannot_use_are_fixed_and_noted():
    s = space.load("specaug_mixup")
    fitted = s.fit([], {"training.seed": 0})
    assert set(s.vary) - set(fitted.vary) == {"sampling.noisy_prob"}
    assert fitted.notes == (
        "The data have no noisy clips: sampling.noisy_prob is fixed at 0 (the space varies it over 0, 0.1, 0.2)",
    )
    assert {e.sampling.noisy_prob for e in [fitted.sample(0, i) for i in range(30)] + fitted.grid(0, 30)} == {0.0}
    assert fitted.base.hash == s.base.hash
    assert fitted.fit([], {}) == fitted  # nothing is left to fix or to say


def test_data_that_can_use_all_fields_leave_a_space_alone():
    s = space.load("specaug_mixup")
    assert s.fit(["noisy clips"], {"sampling.noisy_prob": "0.2"}) is s


def test_a_range_and_a_base_value_are_fixed_too(tmp_path):
    s = space.load(write(tmp_path, NOISY_VARY % "uniform(0.1, 0.4)", "ranged"))
    assert s.fit([], {}).notes[0].endswith("is fixed at 0 (the space varies it from 0.1 to 0.4)")
    corrections = tmp_path / "corrections.json"
    corrections.write_text("{}")
    text = f"BASE = Experiment(sampling=Sampling(corrected_noisy_prob=0.3, noisy_corrections={str(corrections)!r}))"
    fitted = space.load(write(tmp_path, NOISY + text, "based")).fit([], {})
    assert fitted.base.sampling == Experiment().sampling
    assert "sampling.corrected_noisy_prob is fixed at 0 (the base experiment has 0.3)" in fitted.notes[0]
    assert "sampling.noisy_corrections is fixed at none" in fitted.notes[1]


def test_a_list_loses_what_becomes_the_same(tmp_path):
    many = "EXPERIMENTS = [Experiment().replace({'sampling.noisy_prob': p / 10}) for p in range(3)]"
    many += "+ [Experiment().replace({'model.dropout': 0.1, 'sampling.noisy_prob': 0.2})]"
    fitted = space.load(write(tmp_path, NOISY + many, "listed")).fit([], {})
    assert [e.sampling.noisy_prob for e in fitted.experiments] == [0.0, 0.0]
    assert fitted.notes == (
        "The data have no noisy clips: sampling.noisy_prob is fixed at 0 (the space has 0, 0.1, 0.2)",
        "2 of the 4 experiments are left: the others differed in nothing else",
    )


def test_what_the_user_fixed_is_refused_instead_of_replaced(tmp_path):
    asked = {"sampling.noisy_prob": "0.2"}
    s = space.load("specaug_mixup").fix(asked)
    with pytest.raises(
        ValueError, match=r"--set sampling\.noisy_prob=0\.2: the data have no noisy clips\. Leave it out"
    ):
        s.fit([], asked)
    neutral = {"sampling.noisy_prob": "0"}
    assert space.load("specaug_mixup").fix(neutral).fit([], neutral).notes == ()
