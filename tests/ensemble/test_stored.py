"""What a stored ensemble needs to predict, and what it says where something is lacking."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.ensemble.predictions.oof import EnsembleError
from raytag.ensemble.stored import blend_all, stored_ensemble, stored_experiment
from tests.ensemble.fakes import CLASSES, experiment, make_store

IDS = [experiment(i).id for i in range(3)]


def add(store, members, name="ensemble-001", runs=("fake",), predictions=()):
    search = {"runs": list(runs), "predictions": list(predictions), "blend": "rank"}
    report = {"members": members, "stackers": {}, "search": search, "files": {}}
    store.storage.write_json(f"ensembles/{name}/ensemble.json", report)


def test_the_newest_ensemble_or_the_one_that_is_named(tmp_path):
    store = make_store(tmp_path, n_models=3)
    with pytest.raises(EnsembleError, match=r"no ensemble: search one with .*--run fake.*--experiment ID"):
        stored_ensemble(store)
    add(store, {IDS[0]: 2, IDS[1]: 1})
    add(store, {IDS[2]: 1}, "mine")
    assert stored_ensemble(store).what == "ensemble mine"
    found = stored_ensemble(store, "ensemble-001")
    assert (found.kind, dict(found.weights), found.classes) == ("rank", {IDS[0]: 2, IDS[1]: 1}, CLASSES)
    assert {name: (run.name, e) for name, (run, e) in found.experiments.items()} == {
        name: ("fake", name) for name in IDS[:2]
    }
    with pytest.raises(EnsembleError, match="closest that is there: 'mine'"):
        stored_ensemble(store, "mina")


def test_members_of_several_runs(tmp_path):
    store, other = make_store(tmp_path, models=[0]), make_store(tmp_path, models=[1], name="other")
    add(store, {f"fake/{IDS[0]}": 1, f"other/{IDS[1]}": 1}, runs=("fake", "other"))
    found = stored_ensemble(store).experiments
    assert [(run.name, e) for run, e in found.values()] == [("fake", IDS[0]), (other.name, IDS[1])]


def test_a_member_that_raytag_did_not_train_cannot_be_asked(tmp_path):
    store = make_store(tmp_path, models=[0])
    add(store, {IDS[0]: 1, "theirs": 1}, predictions=("files/theirs.csv",))
    with pytest.raises(EnsembleError, match=r"needs files/theirs\.csv.*--ensemble, or --experiment ID"):
        stored_ensemble(store)
    add(store, {IDS[0]: 1}, predictions=("files/theirs.csv",))
    assert list(stored_ensemble(store).experiments) == IDS[:1]


def test_all_folds_are_needed(tmp_path):
    store = make_store(tmp_path, models=[0], complete=False)
    with pytest.raises(EnsembleError, match=rf"of {IDS[0]} in run 'fake' folds 3 are not finished"):
        stored_experiment(store, IDS[0])
    with pytest.raises(EnsembleError, match="has no experiment 'x'"):
        stored_experiment(store, "x")


def test_a_folds_stackers_count_as_a_share_of_one():
    first = np.random.default_rng(0).random((2, 4, 5), np.float32)
    second = np.random.default_rng(1).random((2, 2, 4, 5), np.float32)
    found = blend_all([*first], [2, 1], [[*of_fold] for of_fold in second], "arithmetic")
    expected = (2 * first[0] + first[1] + second.sum(axis=(0, 1)) / 2) / 5
    np.testing.assert_allclose(found, expected, rtol=1e-6)
