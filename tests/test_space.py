"""Search spaces: found by name or path, checked when loaded, drawn as functions of (seed, index)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raytag import space
from raytag.experiment import FAMILIES, Experiment, Loss
from raytag.space import Choice, SpaceError, Uniform, uniform
from tests.members import experiment_with

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
    assert s.sample(7, 0) == s.first
    assert s.first.id.startswith("specaug_mixup-")
    drawn = [s.sample(0, i) for i in range(12)]
    assert len({e.hash for e in drawn}) == 12
    assert drawn == [s.sample(0, i) for i in range(12)]
    assert [e.hash for e in drawn[1:]] != [s.sample(1, i).hash for i in range(1, 12)]


def test_only_varied_fields_vary(tmp_path):
    s = space.load(write(tmp_path, SMALL))
    for i in range(1, 30):
        e = s.sample(3, i)
        flat, base = e.flat(), s.first.flat()
        assert {k for k in flat if flat[k] != base[k]} <= set(s.varied)
        assert 1e-4 <= e.optimizer.lr <= 1e-2


def test_a_fixed_field_varies_no_more(tmp_path):
    s = space.load(write(tmp_path, SMALL)).fix({"model.dropout": "0.25", "model.base_size": "8"})
    assert set(s.varied) == {"optimizer.lr", "input.num_masks"}
    assert {(s.sample(0, i).model.dropout, s.sample(0, i).model.base_size) for i in range(5)} == {(0.25, 8)}


def test_grid_has_every_point_once_after_the_base(tmp_path):
    s = space.load(write(tmp_path, SMALL))
    points = s.grid(0, 100)
    assert points[0] == s.first
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
    assert len(s.fix({"model.base_size": 8}).firsts) == 1  # a and b differ in name alone


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
        ("BASE = EXPERIMENTS = 1", "define either BASE"),
        ("SPACES = []", "SPACES is a list of"),
        ("SPACES = [(0, 'specaug_mixup')]", "above 0"),
        ("SPACES = [(1, 'specaug_mixupp')]", "did you mean specaug_mixup"),
        (
            "SPACES = [(1, 'specaug_mixup', {'loss.q': 1})]",
            r"SPACES\[0\]: the loss .* has no field 'q'",
        ),
        ("SPACES = [(1, 3)]", r"SPACES\[0\]: BASE must be an Experiment"),
        (SMALL + "VARY['loss.name'] = choice(['BCE', 'Foo'])", "no loss is called 'Foo'"),
        (SMALL + "VARY['loss.q'] = uniform(0.1, 0.5)", "no such field of an experiment: 'loss.q'"),
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


def test_feature_sets_are_those_of_all_that_may_be_drawn(tmp_path):
    s = space.load(write(tmp_path, SMALL + "VARY['features.n_mels'] = choice([64, 128, 64])"))
    assert [features.n_mels for features in s.feature_sets] == [128, 64]
    assert [features.n_mels for features in s.fix({"features.n_mels": 64}).feature_sets] == [64]
    s = space.load(write(tmp_path, SMALL + "VARY['features.trim_db'] = uniform(40, 60)"))
    with pytest.raises(SpaceError, match=r"features\.trim_db'\] is a range.*--set features\.trim_db=VALUE"):
        _ = s.feature_sets
    assert len(s.fix({"features.trim_db": 50}).feature_sets) == 1


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
    assert set(s.varied) - set(fitted.varied) == {"sampling.noisy_prob"}
    assert fitted.notes == (
        "The data have no noisy clips: sampling.noisy_prob is fixed at 0 (the space varies it over 0, 0.1, 0.2)",
    )
    assert {e.sampling.noisy_prob for e in [fitted.sample(0, i) for i in range(30)] + fitted.grid(0, 30)} == {0.0}
    assert fitted.first.hash == s.first.hash
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
    assert fitted.first.sampling == Experiment().sampling
    assert "sampling.corrected_noisy_prob is fixed at 0 (the base experiment has 0.3)" in fitted.notes[0]
    assert "sampling.noisy_corrections is fixed at none" in fitted.notes[1]


def test_a_list_loses_what_becomes_the_same(tmp_path):
    many = "EXPERIMENTS = [Experiment().replace({'sampling.noisy_prob': p / 10}) for p in range(3)]"
    many += "+ [Experiment().replace({'model.dropout': 0.1, 'sampling.noisy_prob': 0.2})]"
    fitted = space.load(write(tmp_path, NOISY + many, "listed")).fit([], {})
    assert [e.sampling.noisy_prob for e in fitted.firsts] == [0.0, 0.0]
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


NAMES = (
    SMALL
    + """
SOFT = "OnlyNoisyLSoft"
VARY |= {"loss.name": choice(["BCE", SOFT, SOFT, SOFT]), "loss.beta": uniform(0, 1)}
"""
)


def test_a_name_may_vary_with_the_fields_that_depend_on_it(tmp_path):
    s = space.load(write(tmp_path, NAMES))
    drawn = [s.sample(0, i) for i in range(201)]
    assert drawn[0] == s.first
    soft = [e for e in drawn[1:] if e.loss.name == "OnlyNoisyLSoft"]
    assert stats.binomtest(len(soft), 200, 0.75).pvalue > 1e-3
    assert len({e.loss.beta for e in soft}) > 100
    assert {e.loss for e in drawn if e.loss.name == "BCE"} == {Loss("BCE")}
    assert len({e.optimizer.lr for e in drawn if e.loss.name == "BCE"}) > 20
    points = s.grid(0, 1000)[1:]
    assert len(points) == s.grid_size() == 18 + 3 * 18
    assert sum(e.loss.name == "BCE" for e in points) == 18


def test_a_name_that_is_fixed_takes_the_fields_that_it_has_with_it(tmp_path):
    s = space.load(write(tmp_path, NAMES))
    fixed = s.fix({"loss.name": "bce"})
    assert len(fixed.branches) == 1
    assert "loss.beta" not in fixed.varied
    assert {fixed.sample(0, i).loss for i in range(20)} == {Loss("BCE")}
    narrow = s.fix({"loss.beta": "0.5"})  # BCE has none
    assert {e.loss for e in (narrow.sample(0, i) for i in range(40))} == {Loss("BCE"), Loss(beta=0.5)}
    with pytest.raises(ValueError, match="OnlyNoisyLSoft has no field 'q'; OnlyNoisyLq has it"):
        s.fix({"loss.q": 0.5})
    listed = s.fix({"optimizer.lr": 1e-3, "model.dropout": 0.1, "input.num_masks": [1, 1], "loss.beta": 0.5})
    assert (len(listed.firsts), listed.branches) == (2, ())


def test_a_mixture_holds_its_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search_spaces").mkdir()
    write(tmp_path / "search_spaces", SMALL)
    write(tmp_path / "search_spaces", NAMES, "names")
    text = NOISY + "B = Experiment(model=Model('SkipAttention'))\n"
    text += "SPACES = [(3, 'small'), (1, B, worth_varying(B) | {'training.batch_size': choice([16, 32])})]"
    s = space.load(write(tmp_path, text, "mixture"))
    drawn = [s.sample(0, i) for i in range(200)]
    assert [e.model.name for e in drawn[:2]] == ["AuxSkipAttention", "SkipAttention"]
    assert [e.name for e in drawn[:2]] == ["small", "mixture"]
    few = sum(e.model.name == "SkipAttention" for e in drawn[2:])
    assert stats.binomtest(few, 198, 0.25).pvalue > 1e-3
    assert len(s.grid(0, 10**5)) == 2 + s.grid_size()
    assert s.grid_size() == 18 + s.branches[1].grid_size
    nested = space.load(write(tmp_path, "SPACES = [(1, 'names'), (1, 'mixture.py')]", "nested"))
    assert sum(branch.weight for branch in nested.branches) == pytest.approx(2)
    assert [branch.weight for branch in nested.branches] == pytest.approx([0.25, 0.75, 0.75, 0.25])
    with pytest.raises(SpaceError, match="the mixture contains itself"):
        space.load(write(tmp_path, "SPACES = [(1, 'circle.py')]", "circle"))


def test_a_family_says_what_is_worth_varying_in_it():
    own = space.worth_varying(Experiment())
    assert own["input.specaugment_prob"] == uniform(0.2, 0.9)
    assert own["model.dropout"] == uniform(0.05, 0.5)
    assert set(own) <= set(Experiment().flat())
    for name, family in FAMILIES.items():
        for member in family.table:
            base = experiment_with(name, member)
            for key, distribution in space.worth_varying(base).items():
                for value in distribution.grid():
                    base.replace({key: value})


def test_geometries_are_one_network_at_three_resolutions():
    s = space.load("geometries")
    assert len(s.feature_sets) == 3
    assert [branch.weight for branch in s.branches] == [1, 1, 1]
    assert {(f.sample_rate, f.n_mels, f.n_fft, f.hop_length) for f in s.feature_sets} == {
        (44100, 128, 2560, 690),
        (44100, 64, 1024, 512),
        (22050, 96, 2048, 256),
    }
    told = [key for key in s.varied if key.startswith("features.")]  # what a dry run shows of each
    assert told == [f"features.{name}" for name in ("fmax", "hop_length", "n_fft", "n_mels", "sample_rate")]
    parts = [{k: v for k, v in e.all_parts().items() if k != "features"} for e in s.firsts]
    assert parts[0] == parts[1] == parts[2]
    names = {e.name: e.features.n_mels for e in [s.sample(0, i) for i in range(30)]}
    assert names == {"mels128": 128, "mels64": 64, "mels96": 96}
    counts = np.bincount([s.feature_sets.index(s.sample(0, i).features) for i in range(3, 303)])
    assert stats.chisquare(counts).pvalue > 1e-3
