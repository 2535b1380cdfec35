"""Spaces whose experiments learn from others: what is set, fixed and computed concerns earlier stages too."""

from __future__ import annotations

import pytest

from raytag import space
from raytag.experiment import Experiment, Features, Init
from raytag.search.searchers import search_key
from raytag.store.run import RunStore
from tests.store.test_run import make_table

TEXT = """
from raytag.experiment import Experiment, Features, FrontEnd, Init, Input, Loss, Model, Pseudo, Sampling
from raytag.space import choice, uniform
FIRST = Experiment(name="first", loss=Loss("OnlyNoisyLq", q=0.3), sampling=Sampling(noisy_prob=0.2))
MELS = Experiment(name="mels", features=Features(n_mels=64))
SECOND = Experiment(name="second", loss=Loss("BCE"), init=Init("ParentWeights", parent=FIRST))
BASE = Experiment(name="third", sampling=Sampling(noisy_prob=0.3), pseudo=Pseudo("Top", parent=SECOND))
VARY = {"pseudo.parent": choice([SECOND, MELS]), "pseudo.share": choice([0.25, 0.5])}
"""


@pytest.fixture
def chosen(tmp_path):
    path = tmp_path / "stages.py"
    path.write_text(TEXT)
    return space.load(str(path))


def every(chosen):
    return {e.name: e for e in (*chosen.earlier, *chosen.bases)}


def test_the_shipped_space_learns_from_the_base_of_another():
    shipped = space.load("two_stages")
    assert [e.id for e in shipped.earlier] == [space.load("specaug_mixup").first.id]
    drawn = [shipped.sample(0, i) for i in range(20)]
    assert {e.init.name for e in drawn} == {"ParentWeights", "Fresh"}
    assert {e.stage for e in drawn} == {2}
    assert not any(e.leaky or e.watches for e in drawn)
    plain = shipped.fit((), {})
    drawn = [plain.sample(0, i) for i in range(9)]
    assert {(e.sampling.noisy_prob, e.pseudo.name) for e in drawn} == {(0.0, "Given")}


def test_all_stages_are_known_the_earliest_first(chosen):
    assert [e.stage for e in chosen.earlier] == [1, 1, 2]
    assert {e.name for e in chosen.earlier} == {"first", "mels", "second"}
    assert chosen.varied == ["pseudo.parent", "pseudo.share"]
    assert {chosen.sample(0, i).pseudo.parent.name for i in range(12)} == {"second", "mels"}
    assert Features(n_mels=64) in chosen.feature_sets


def test_what_is_set_is_set_in_all_stages(chosen):
    found = every(chosen.fix({"training.epochs": "3", "model.base_size": 8}))
    assert {(e.training.epochs, e.model.base_size) for e in found.values()} == {(3, 8)}
    assert found["second"].init.parent == found["first"]
    assert found["third"].pseudo.parent == found["second"]
    drawn = [chosen.fix({"training.epochs": 3}).sample(0, i) for i in range(8)]
    assert {e.pseudo.parent.training.epochs for e in drawn} == {3}


def test_a_field_that_only_an_earlier_stage_has_can_be_set(chosen):
    assert every(chosen.fix({"loss.q": 0.6}))["first"].loss.q == 0.6
    with pytest.raises(ValueError, match=r"has no field .nothing."):
        chosen.fix({"loss.nothing": 1})


def test_what_earlier_stages_learn_from_stays_theirs(chosen):
    found = every(chosen.fix({"init.name": "Fresh", "pseudo.share": 0.3}))
    assert found["second"].init == Init()
    other = Experiment(name="other")
    found = every(chosen.fix({"pseudo.parent": other}))
    assert found["third"].pseudo.parent == other
    assert "second" not in found


def test_a_class_without_defaults_is_chosen_with_its_fields(tmp_path):
    other = Experiment(name="other")
    found = space.load("specaug_mixup").fix({"init.name": "ParentWeights", "init.parent": other})
    assert all(e.init.parent == other for e in found.bases)
    with pytest.raises(ValueError, match=r"init\.parent: Field required"):
        space.load("specaug_mixup").fix({"init.name": "ParentWeights"})
    with pytest.raises(ValueError, match=r"weights file none\.pt: No such file"):
        space.load("specaug_mixup").fix({"init.name": "WeightsFile", "init.file": "none.pt"})


def test_what_the_data_cannot_use_is_fixed_in_all_stages_and_said(chosen):
    fitted = chosen.fit((), {})
    found = every(fitted)
    assert all(e.sampling.noisy_prob == 0 for e in found.values())
    assert found["third"].pseudo.name == "Given"
    assert found["third"].stage == 1
    assert any("pseudo.name is fixed at Given" in note for note in fitted.notes)
    assert any("sampling.noisy_prob is fixed at 0" in note for note in fitted.notes)
    assert every(chosen.fit({"noisy clips"}, {}))["third"].pseudo.name == "Top"


def test_a_parent_of_a_run_is_taken_as_it_was_trained(tmp_path):
    store = RunStore.open_for(str(tmp_path / "runs"), "r", make_table(tmp_path), "data")
    parent = Experiment(name="parent").replace({"training.epochs": 30})
    store.add(parent)
    folder = tmp_path / "runs" / "r" / "experiments" / parent.id
    (tmp_path / "next.py").write_text(
        "from raytag.experiment import Experiment, Init\n"
        f"BASE = Experiment(init=Init('ParentWeights', parent={str(folder)!r}))\n"
    )
    found = space.load(str(tmp_path / "next.py")).fix({"training.epochs": 5, "training.seed": 3})
    assert found.first.training.epochs == 5
    assert found.first.parents[0].id == parent.id
    assert found.first.parents[0] == parent  # as a searcher compares what the log gives back
    assert parent == found.first.parents[0]
    with pytest.raises(ValueError, match=r"init\.parent: .*no experiment of a run"):
        Init("ParentWeights", parent="nowhere")
    with pytest.raises(ValueError, match=r"init\.parent: .*does not exist"):
        Init("ParentWeights", parent=str(folder.parent / "none-12345678"))
    with pytest.raises(ValueError, match=r"init\.parent: .*no run 'x'"):
        Init("ParentWeights", parent=str(tmp_path / "runs" / "x" / "experiments" / "e-1"))


def test_the_name_of_a_search_has_parents_by_identity(chosen):
    assert "Experiment(second-" in repr(chosen.branches[0].vary["pseudo.parent"])
    assert search_key("random", chosen, 0) != search_key("random", chosen.fix({"loss.q": 0.6}), 0)
