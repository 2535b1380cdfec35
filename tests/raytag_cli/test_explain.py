"""raytag explain: the decisions of a race are shown, and found to be wrong where the log was changed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from raytag.cli import main
from raytag.search.race.replay import Curves, simulate
from raytag.search.race.settings import Settings
from tests.ensemble.fakes import make_store


@pytest.fixture
def raced(tmp_path):
    """A run whose log holds a race of six experiments on four folds, and its events."""
    store = make_store(tmp_path, n_models=1)
    final = np.linspace(0.4, 0.8, 6)[:, None] + np.linspace(0, 0.02, 4)
    best = final[:, :, None] * np.linspace(0.5, 1, 5)
    events = simulate(Curves(best, final, ("a",) * 6), Settings("paired", 1), range(6)[::-1]).events
    events = [{"n": n, "time": "", "key": "k", **event} for n, event in enumerate(events)]
    write(store, events)
    return store, events


def write(store, events):
    store.storage.write("events/001.jsonl", "".join(json.dumps(e) + "\n" for e in events).encode())


def test_all_decisions_are_shown_with_their_reasons(raced, capsys, monkeypatch):
    store, events = raced
    decisions = [e for e in events if "reason" in e]
    assert decisions
    monkeypatch.setenv("COLUMNS", "250")
    outputs = []
    folder = store.storage.root
    for run in ([store.name, "--runs-dir", store.runs_dir], [folder], ["--runs-dir", store.runs_dir]):
        assert main(["explain", *run]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2]
    assert f"{len(decisions)} decisions, 0 of them do not follow from the facts" in outputs[0]
    for decision in decisions:
        assert f"{decision['experiment']}  " in outputs[0]
        assert decision["reason"] in outputs[0]


def test_a_changed_fact_is_found(raced, capsys, monkeypatch):
    store, events = raced
    rung = next(e for e in events if e["event"] == "rung")
    rung["value"] += 0.5
    write(store, events)
    monkeypatch.chdir(store.storage.root)
    assert main(["explain", "."]) == 1
    assert "recomputed" in capsys.readouterr().out


def test_a_run_that_did_not_race(tmp_path, capsys):
    store = make_store(tmp_path, n_models=1)
    assert main(["explain", store.name, "--runs-dir", store.runs_dir]) == 0
    assert capsys.readouterr().out == "fake: no launch of it raced\n"
