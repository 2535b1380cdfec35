"""The racing benchmark: published rules worked by hand, tables, the incumbent's twin, and the figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.search.race.replay import Curves
from raytag.search.race.settings import Settings
from raytag.store.run import RunStore

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks/racing"))

import _figure
import _incumbent
import _published
import _replays
import _tables
import racing as benchmark


def curves_of(final, epochs=4):
    """Curves that stand at their final value from the first epoch on."""
    final = np.asarray(final, dtype=np.float64)
    return Curves(np.repeat(final[:, :, None], epochs, axis=2), final, ("one",) * len(final))


def random_curves(n=24, folds=4, epochs=8, noise=0.02, seed=0):
    rng = np.random.default_rng(seed)
    final = 0.6 + 0.2 * rng.random((n, 1)) + 0.1 * rng.random(folds) + noise * rng.standard_normal((n, folds))
    best = final[:, :, None] * np.linspace(0.5, 1.0, epochs)
    return Curves(best, final, ("one",) * n)


# -- published rules, worked by hand ------------------------------------------------------------------

EIGHTHS = np.array([[4, 5, 6], [5, 7, 7], [6, 3, 7], [6, 7, 1], [6, 6, 6], [6, 8, 8]]) / 8


def test_full_cross_validation_trains_everything():
    epochs, complete = _published.full_cv(curves_of(EIGHTHS), [2, 0])
    assert epochs.tolist() == [[4] * 3, [0] * 3, [4] * 3, [0] * 3, [0] * 3, [0] * 3]
    assert complete == [2, 0]


def test_aggressive_stops_at_the_incumbents_mean():
    epochs, complete = _published.aggressive(curves_of(EIGHTHS), range(6))
    # 0 is the first incumbent, mean 5. 1 stops: 5 is not above 5. 2 stops after two folds: (6 + 3) / 2 < 5.
    # 3 completes with mean 14/3 and is no incumbent. 4 does with 6 and is the new one. 5 stops: 6 is not above 6
    assert (epochs // 4).sum(axis=1).tolist() == [3, 1, 2, 3, 3, 1]
    assert complete == [0, 3, 4]


def test_forgiving_stops_at_the_incumbents_worst_fold():
    epochs, complete = _published.forgiving(curves_of(EIGHTHS), range(6))
    # 0 is the first incumbent, worst fold 4. 1 completes with mean 19/3: the incumbent to the end but one, worst
    # fold 5. 2 stops after two folds: 4.5 is not above 5
    assert (epochs // 4).sum(axis=1).tolist() == [3, 3, 2, 3, 3, 3]
    assert complete == [0, 1, 3, 4, 5]


def test_published_rules_follow_the_order_of_arrival():
    epochs, complete = _published.aggressive(curves_of(EIGHTHS), [4, 0, 5])
    assert (epochs // 4).sum(axis=1).tolist() == [1, 0, 0, 0, 3, 1]
    assert complete == [4]


def test_asha_takes_every_trial_for_an_experiment():
    first = np.array([[4, 3], [4, 6], [5, 7]])  # at the rung after epoch 1
    second = np.array([[5, 9], [4, 6], [5, 7]])  # after epoch 2
    best = np.stack([first, second, second, second], axis=2) / 8
    curves = Curves(best, best[:, :, -1], ("one",) * 3)
    epochs, complete = _published.trial_asha(curves, range(3))
    # (0, 1) stops at once, 3 < 4, though it would have ended best. (1, 0) is among the best 2 of 3 at the first
    # rung, and stops at the second: 4 < 5. The others run to the end; only experiment 2 has both folds
    assert epochs.tolist() == [[4, 1], [2, 4], [4, 4]]
    assert complete == [2]
    # at the second rung alone only (1, 0) stops: 5 and 9 pass, 4 is not among the best 2 of 5 9 4, all others pass
    epochs, complete = _published.trial_asha(curves, range(3), rungs=(0.5,))
    assert epochs.tolist() == [[4, 4], [2, 4], [4, 4]]
    assert complete == [0, 2]
    assert _published.trial_asha(curves, range(3), eta=1)[1] == [0, 1, 2]


# -- what a replay is worth ---------------------------------------------------------------------------


def test_measure_counts_the_true_best_that_are_complete():
    curves = curves_of([[0.5, 0.5], [0.9, 0.7], [0.6, 0.6], [0.7, 0.7]])
    epochs = np.array([[4, 4], [4, 1], [0, 0], [4, 4]])
    found = _replays.measure(curves, (epochs, [0, 3]), keep=2)
    assert found == {"spent": 21 / 32, "kept": 1.0, "regret": pytest.approx(0.1), "complete": 2.0}
    nothing = _replays.measure(curves, (epochs, []), keep=2)
    assert nothing["regret"] == pytest.approx(0.8)
    assert nothing["kept"] == 0


def test_raytag_without_stopping_is_full_cross_validation_in_any_order_of_folds():
    curves = random_curves(n=8, folds=3)
    for arrival in _replays.arrivals(8, 3, 3, 0, shuffle_folds=True):
        a, b = (
            _replays.play(rule, curves, arrival) for rule in (_published.full_cv, _replays.race(Settings("none")))
        )
        assert (a[0] == b[0]).all()
        assert sorted(a[1]) == sorted(b[1])


def test_orders_of_arrival_are_seeded_and_shuffle_folds_only_when_told():
    still = _replays.arrivals(9, 4, 5, 1, shuffle_folds=False)
    assert still == _replays.arrivals(9, 4, 5, 1, shuffle_folds=False)
    assert {a.folds for a in still} == {(0, 1, 2, 3)}
    assert len({a.experiments for a in still}) == 5
    assert len({a.folds for a in _replays.arrivals(9, 4, 5, 1, shuffle_folds=True)}) > 1


# -- tables -------------------------------------------------------------------------------------------


def frame(n=3, folds=(1, 2), epochs=4):
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([[f"e{i}" for i in range(n)], folds, range(1, epochs + 1)])
    found = index.to_frame(index=False, name=["experiment", "fold", "epoch"])
    return found.assign(
        lr=found["experiment"].map({f"e{i}": 10.0**-i for i in range(n)}), val_lwlrap=rng.random(len(found))
    )


def test_a_table_is_read_in_its_order_of_experiments_whatever_the_order_of_rows(tmp_path):
    table = frame()
    path = tmp_path / "t.parquet"
    table.sort_values("val_lwlrap").to_parquet(path)
    loaded = _tables.load(path)
    assert sorted(loaded.names) == ["e0", "e1", "e2"]
    assert loaded.folds == [1, 2]
    for i, name in enumerate(loaded.names):
        for j, fold in enumerate(loaded.folds):
            mine = (table["experiment"] == name) & (table["fold"] == fold)
            cell = table[mine].sort_values("epoch")["val_lwlrap"]
            assert loaded.curves.best[i, j].tolist() == cell.cummax().tolist()
            assert loaded.curves.final[i, j] == cell.max()
    assert loaded.curves.clip_variance is None
    assert set(loaded.curves.kinds) == {"one"}
    assert loaded.hyperparameters["lr"].to_dict() == {"e0": 1.0, "e1": 0.1, "e2": 0.01}
    assert list(loaded.hyperparameters.columns) == ["lr"]


def test_what_a_table_says_of_folds_and_schedules_is_used(tmp_path):
    table = frame()
    cell = table["experiment"] + table["fold"].astype(str)
    values = {name: 0.5 + i / 100 for i, name in enumerate(dict.fromkeys(cell))}
    table = table.assign(final=cell.map(values), clip_variance=cell.map(values) / 1000)
    table.loc[cell == "e12", "clip_variance"] = np.nan
    loaded = _tables.arrange(table.assign(kind=table["experiment"].map({"e0": "a", "e1": "b", "e2": "a"})), "t")
    assert loaded.curves.final.ravel().tolist() == list(values.values())
    assert loaded.curves.kinds == ("a", "b", "a")
    assert np.argwhere(np.isnan(loaded.curves.clip_variance)).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="val_lwlrap"), "no column 'val_lwlrap'"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.drop(index=t.index[6]), "no val_lwlrap for experiment e0, fold 2, epoch 3"),
        (lambda t: t[(t["experiment"] != "e1") | (t["fold"] != 2)], "experiment e1, fold 2, epoch 1 .4 such holes"),
        (lambda t: pd.concat([t, t.iloc[9:10]]), "experiment e1, fold 1, epoch 2 stands there twice"),
        (lambda t: t.assign(epoch=t["epoch"] - 1), "epoch 0 is not one of epochs 1..3"),
        (lambda t: t.assign(final=t["val_lwlrap"]), "final changes within experiment e0, fold 1"),
        (
            lambda t: t.assign(final=np.where(t["experiment"] == "e1", np.nan, 0.5)),
            "no final for experiment e1, fold 1",
        ),
        (lambda t: t.assign(kind=np.where(t["fold"] == 1, "a", "b")), "kind changes within experiment e0"),
    ],
)
def test_a_broken_table_is_refused_with_the_place(change, words):
    with pytest.raises(ValueError, match=words):
        _tables.arrange(change(frame()), "t.parquet")


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--record RUN_DIR --to none\.parquet"):
        _tables.load(tmp_path / "none.parquet")


# -- recording a run ----------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    n = 9
    clips = pd.DataFrame(
        {
            "clip": [f"{i}.wav" for i in range(n)],
            "fname": [f"{i}.wav" for i in range(n)],
            "path": [str(tmp_path / f"{i}.wav") for i in range(n)],
            "labels": ["a", "b", "a,b"] * 3,
            "subset": "curated",
            "fold": np.arange(n) // 3 % 2,  # 0 0 0 1 1 1 0 0 0
            "group": "",
            "duration": 1.0,
            "rate": 44100,
        }
    )
    return RunStore.open_for(str(tmp_path / "runs"), "r", ClipTable(clips, ("a", "b"), None, tmp_path, "t"), "d")


def finish(store, experiment, fold, final, epochs=3):
    import torch

    names = store.clips().query("fold == @fold")["fname"].tolist()
    rng = np.random.default_rng([fold, round(final * 1000)])
    oof = pd.DataFrame(rng.random((len(names), 2)), columns=["a", "b"]).astype(np.float32)
    oof.insert(0, "fname", names)
    curve = pd.DataFrame(
        {"epoch": range(1, epochs + 1), "lr": 0.1, "train_loss": 1.0, "lwlrap": final, "seconds": 2.5}
    )
    curve["lwlrap"] -= (curve["epoch"] - 2).abs() / 10  # the best in the middle, beside the final
    store.fold(experiment.id, fold).finish(
        weights={"w": torch.ones(1)}, oof=oof, test=None, curve=curve, result={"lwlrap": final - 0.05}
    )


def fill(store):
    base = Experiment()
    experiments = [
        base.replace({"optimizer.lr": lr, "input.num_masks": masks, "schedule.name": schedule})
        for lr, masks, schedule in (
            (0.001, "[1, 2]", "plateau"),
            (0.002, "[1, 3]", "one_cycle"),
            (0.002, "[1, 2]", "plateau"),
        )
    ]
    for i, e in enumerate(experiments):
        store.add(e)
        for fold in range(2 - (i == 2)):  # the last one lacks a fold
            finish(store, e, fold, 0.6 + i / 10 + fold / 100)
    return experiments


def test_a_run_is_recorded_and_read_again(store, tmp_path, monkeypatch, capsys):
    experiments = fill(store)
    path = tmp_path / "t.parquet"
    monkeypatch.setattr(sys, "argv", ["racing.py", "--record", f"{tmp_path}/runs/r/", "--to", str(path)])
    benchmark.main()
    assert "1 incomplete experiments are left out" in capsys.readouterr().out
    loaded = _tables.load(path)
    assert loaded.names == sorted(e.id for e in experiments[:2])
    assert loaded.folds == [0, 1]
    rows = [loaded.names.index(e.id) for e in experiments[:2]]
    assert loaded.curves.best[rows[1], 1] == pytest.approx([0.61, 0.71, 0.71])
    assert loaded.curves.final[rows].ravel() == pytest.approx([0.55, 0.56, 0.65, 0.66])
    assert [loaded.curves.kinds[r] for r in rows] == ["Plateau", "OneCycle"]
    assert set(loaded.hyperparameters.columns) == {"optimizer.lr", "input.num_masks", "schedule.name"}
    assert loaded.hyperparameters.loc[experiments[1].id, "input.num_masks"] == "[1, 3]"
    assert loaded.hyperparameters.loc[experiments[1].id, "optimizer.lr"] == 0.002
    variance = loaded.curves.clip_variance
    assert (variance >= 0).all()
    assert (variance[0] == variance[1]).all()  # of two, each is compared with the other
    assert variance.max() > 0


def test_a_run_with_nothing_to_record(store):
    with pytest.raises(ValueError, match="no complete experiment"):
        _tables.from_run(store)


def test_curves_of_unequal_length_are_refused(store):
    experiments = fill(store)
    finish(store, experiments[2], 1, 0.8, epochs=2)
    with pytest.raises(ValueError, match=f"no val_lwlrap for experiment {experiments[2].id}, fold 1, epoch 3"):
        _tables.from_run(store)


# -- the incumbent's twin -----------------------------------------------------------------------------


def test_without_noise_the_twin_is_the_incumbent():
    final = np.array([[0.5, 0.6, 0.8], [0.6, 0.7, 0.9], [0.3, 0.4, 0.6], [0.2, 0.3, 0.5]])
    curves = curves_of(final)
    noise = _incumbent.noise(curves, better_half=False)
    assert noise.spread == pytest.approx(0, abs=1e-12)
    table = _incumbent.with_twin(curves, noise, np.random.default_rng(0))
    assert table.final.shape == (5, 3)
    assert table.final[4] == pytest.approx(final[1])
    assert table.best[4] == pytest.approx(curves.best[1])
    assert (table.final[:4] == final).all()


@pytest.mark.parametrize("better_half", [True, False])
def test_the_twins_noise_is_that_of_the_table(better_half):
    rng = np.random.default_rng(0)
    sd = np.where(np.arange(200) < 100, 0.01, 0.04)  # the worse half strays more
    values = np.where(sd == 0.01, 0.9, 0.5)[:, None] + np.array([-0.03, 0.0, 0.01, 0.02])
    final = values + sd[:, None] * rng.standard_normal((200, 4))
    curves = curves_of(final)
    noise = _incumbent.noise(curves, better_half=better_half)
    expected = 0.01 if better_half else np.sqrt((0.01**2 + 0.04**2) / 2)
    assert noise.spread == pytest.approx(expected, rel=0.1)
    twins = np.stack([_incumbent.with_twin(curves, noise, rng).final[-1] for _ in range(500)])
    assert (twins - noise.fitted[:, -1]).std() == pytest.approx(expected, rel=0.1)
    assert noise.fitted[:, -1].mean() == pytest.approx(final.mean(axis=1).max())


def test_how_often_the_twin_is_dropped():
    curves = random_curves(n=12)
    done = []
    rules = {"all": _published.full_cv, "none": lambda c, order: (np.zeros(c.final.shape, np.int64), [])}
    noise = _incumbent.noise(curves, better_half=True)
    found, places = _incumbent.dropped(curves, noise, rules, 20, 0, shuffle_folds=True, advance=done.append)
    assert len(places) == 20
    assert min(places) >= 1
    assert max(places) <= 6  # a good one in every draw
    assert [(row["rule"], row["dropped"]) for row in found] == [("all", 0.0), ("none", 1.0)]
    assert len(done) == 40


def test_wilsons_interval():
    found = _incumbent.share(0, 200)
    assert (found["low"], found["high"]) == (0.0, pytest.approx(1.959964**2 / (200 + 1.959964**2)))
    assert _incumbent.share(5, 10)["low"] == pytest.approx(0.2366, abs=1e-4)


# -- the command line ---------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    curves = random_curves(n=10, folds=3, epochs=4)
    path = tmp_path / "tiny.parquet"
    frame(10, range(3)).assign(val_lwlrap=curves.best.ravel()).to_parquet(path)
    return path


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["racing.py", *map(str, arguments)])
    benchmark.main()


def test_every_rule_is_printed_and_written(table, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    call(monkeypatch, "--table", table, "--keep", 3, "--shuffles", 4, "--shuffle-folds", "--json", out)
    (rows,) = json.loads(out.read_text())["tables"].values()
    named = {row["rule"]: row for row in rows}
    assert list(named) == list(_replays.all_rules(3))
    assert named["full CV"]["spent"] == named["raytag none"]["spent"] == 1.0
    assert named["full CV"]["kept"] == 3
    assert named["raytag paired"]["spent"] < 1.0
    assert "tiny: 10 experiments × 3 folds × 4 epochs; keep 3" in capsys.readouterr().out


def test_the_incumbent_is_written(table, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    call(monkeypatch, "--table", table, "--keep", 4, "--shuffles", 3, "--incumbent", "--json", out)
    tables = list(json.loads(out.read_text())["tables"].values())
    assert len(tables) == 4
    assert [len(rows[0]["places"]) for rows in tables[2:]] == [3, 3]
    assert {"raytag paired, keep 4", "raytag asha, keep 1", "forgiving"} < {row["rule"] for row in tables[0]}


def test_the_frontier_is_what_no_point_beats():
    points = [(0.5, 0.9), (0.3, 0.4), (0.3, 0.6), (0.4, 0.6), (0.5, 0.8), (0.9, 0.9), (0.2, 0.1), (0.95, 1.0)]
    assert _figure.frontier(points) == [(0.2, 0.1), (0.3, 0.6), (0.5, 0.9), (0.95, 1.0)]
    assert _figure.frontier([]) == []


def test_the_grid_holds_each_rule_once():
    grid = _figure.grid(4)
    assert len(grid) == len(set(grid)) == 85
    assert {s.keep for s in grid} == {4}
    assert sum(not s.shares for s in grid) == len(_figure.ZS)


def test_the_figure_is_drawn(table, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(_figure, "RUNGS", ((), (0.5,)))
    monkeypatch.setattr(_figure, "ETAS", (2.0,))
    monkeypatch.setattr(_figure, "ZS", (0.0, 1.0))
    out = tmp_path / "f.png"
    call(monkeypatch, "--table", table, "--keep", 3, "--grid-shuffles", 1, "--figure", out)
    assert out.read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_the_figure_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[dev\]'"):
        _figure.pyplot()


def test_a_portfolio_of_all_experiments_is_refused(table, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(monkeypatch, "--table", table, "--keep", 10)
    assert "--keep 10: tiny has 10 experiments" in capsys.readouterr().err
