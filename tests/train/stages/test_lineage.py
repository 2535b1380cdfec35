"""Which models may be read: never one that saw the labels of the fold that is left out."""

from __future__ import annotations

import pytest

from raytag.experiment import Experiment, Init, Pseudo, Sampling
from raytag.train.stages.lineage import Cell, model_without, parent_model, parent_models, reads

BLIND = {"training.keep_epoch": "last", "training.early_stopping": None, "schedule.name": "OneCycle"}
FIRST = Experiment(name="first").replace(BLIND)
WATCHING = Experiment(name="watching")


def child(parent: Experiment, reader: str = "same_fold", **more) -> Experiment:
    fields = {
        "name": "child",
        "sampling": Sampling(noisy_prob=0.5),
        "pseudo": Pseudo("Top", parent=parent, reader=reader),
    }
    return Experiment(**(fields | more)).replace(BLIND)


def everything(experiment: Experiment, cell: Cell, n_folds: int) -> list[tuple[Experiment, Cell]]:
    """All models that a model reads, and those that these read."""
    own = reads(experiment, cell, n_folds)
    return own + [deeper for parent, model in own for deeper in everything(parent, model, n_folds)]


@pytest.mark.parametrize("reader", ["same_fold", "cross_fit"])
@pytest.mark.parametrize("second_reader", ["same_fold", "cross_fit"])
@pytest.mark.parametrize("first", [FIRST, WATCHING], ids=["blind", "watching"])
def test_the_whole_ancestry_leaves_out_what_a_model_leaves_out(reader, second_reader, first):
    second = child(first, second_reader, init=Init("ParentWeights", parent=first))
    third = child(second, reader, init=Init("ParentWeights", parent=second))
    for fold in range(5):
        found = everything(third, Cell(fold), 5)
        assert {e.stage for e, _ in found} == {1, 2}
        assert all(fold in cell.left_out for _, cell in found)


def test_what_is_published_reads_models_of_other_folds_and_is_leaky():
    leaky = child(FIRST, "oof")
    assert [cell for _, cell in reads(leaky, Cell(0), 3)] == [Cell(0), Cell(1), Cell(2)]
    assert leaky.leaky
    assert child(leaky).leaky
    assert not child(FIRST).leaky
    assert not child(FIRST, "cross_fit").leaky


def test_cross_fit_asks_for_the_inner_models_that_predict_each_other_fold():
    models = parent_models(FIRST, "cross_fit", Cell(2), 5)
    assert sorted(models) == [0, 1, 3, 4]
    assert all(set(cell.left_out) == {2, k} for k, cell in models.items())
    # validation decides on nothing: the model without 2 and 4 serves fold 2 and fold 4
    assert parent_models(FIRST, "cross_fit", Cell(4), 5)[2] == models[4] == Cell(2, (4,))
    # where it does, a model is validated on the fold whose clips it predicts, and never on the child's
    watching = parent_models(WATCHING, "cross_fit", Cell(2), 5)
    assert {k: cell.fold for k, cell in watching.items()} == {0: 0, 1: 1, 3: 3, 4: 4}


def test_models_have_folders_and_random_streams_of_their_own():
    cells = [Cell(k) for k in range(5)] + [Cell(a, (b,)) for a in range(5) for b in range(5) if a != b]
    cells += [Cell(0, (1, 2)), Cell(2, (0, 1))]
    assert len({cell.folder for cell in cells}) == len({cell.key for cell in cells}) == len(cells)
    assert (Cell(3).folder, Cell(3).key) == ("fold_3", 3)
    assert Cell(3, (1, 2)).folder == "fold_3_without_1_2"
    assert model_without(FIRST, 3, ()) == parent_model(FIRST, Cell(3)) == Cell(3)


def test_a_stage_is_one_more_than_its_latest_parent_and_watching_is_inherited():
    second = child(FIRST)
    third = child(second, init=Init("ParentWeights", parent=FIRST))
    assert [e.stage for e in (FIRST, second, third)] == [1, 2, 3]
    assert [e.name for e in third.ancestors] == ["first", "child"]
    assert third.ancestors[0] == FIRST
    assert not third.watches
    assert child(WATCHING).watches


def test_the_identity_of_a_child_is_that_of_its_parents_too():
    first, other = child(FIRST), child(FIRST.replace({"training.seed": 1}))
    assert first.hash != other.hash
    renamed = Experiment.model_validate({**FIRST.fields(), "name": "renamed"})
    assert child(renamed).hash == first.hash
    assert Experiment.from_json(first.to_json()).hash == first.hash
    assert len(first.canonical_json()) < 1500  # by its content's hash, which no later field of it moves
