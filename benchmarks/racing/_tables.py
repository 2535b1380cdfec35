"""Tables of recorded learning curves: read for a replay, written from a run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from raytag.search.race.clip_luck import clip_variance
from raytag.search.race.replay import Curves
from raytag.store.run import RunStore

KEYS = ["experiment", "fold", "epoch"]
REQUIRED = [*KEYS, "val_lwlrap"]
PER_CELL = ["final", "clip_variance"]  # one value for each experiment and fold
RECORDED = [*REQUIRED, *PER_CELL, "kind", "train_loss", "seconds"]  # whatever else is constant is a hyperparameter


class Recorded(NamedTuple):
    """A table as a race reads it."""

    curves: Curves
    names: list[str]  # of the experiments, in the table's order: the first axis of ``curves``
    folds: list[int]  # ascending: the second axis
    hyperparameters: pd.DataFrame  # indexed by experiment: every further column that no epoch changes


def load(path: Path | str) -> Recorded:
    """Read a table experiment × fold × epoch.

    Parameters
    ----------
    path : path
        A Parquet file with the columns experiment, fold, epoch (1..T), val_lwlrap, and where they were recorded
        final (lwlrap of the finished fold; else the best epoch's), kind (of schedule; else all are alike) and
        clip_variance (squared units of lwlrap; may be missing for some cells).

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A column is missing, a row is missing, doubled or without a value, or a column that belongs to a whole
        fold or experiment changes within it; the message names the experiment, fold and epoch.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no table {path}; record one with --record RUN_DIR --to {path.name}")
    return arrange(pd.read_parquet(path), str(path))


def arrange(frame: pd.DataFrame, where: str) -> Recorded:
    """The rows of a table as arrays; ``where`` is the table's name in errors, which are those of `load`."""
    missing = [c for c in REQUIRED if c not in frame.columns]
    if missing:
        raise ValueError(f"{where}: no column {missing[0]!r}; a table needs {', '.join(REQUIRED)}")
    if frame.empty:
        raise ValueError(f"{where}: the table has no rows")
    names = [str(e) for e in dict.fromkeys(frame["experiment"])]
    folds = sorted(int(k) for k in frame["fold"].unique())
    epochs = int(frame["epoch"].max())
    keyed = frame.assign(experiment=frame["experiment"].astype(str)).set_index(KEYS)
    twice = keyed.index[keyed.index.duplicated()]
    if len(twice):
        raise ValueError(f"{where}: {_cell(*twice[0])} stands there twice")
    whole = pd.MultiIndex.from_product([names, folds, range(1, epochs + 1)], names=KEYS)
    surplus = keyed.index.difference(whole)
    if len(surplus):
        raise ValueError(f"{where}: {_cell(*surplus[0])} is not one of epochs 1..{epochs}")
    values = keyed["val_lwlrap"].reindex(whole)
    holes = values.index[values.isna()]
    if len(holes):
        raise ValueError(
            f"{where}: no val_lwlrap for {_cell(*holes[0])} ({len(holes)} such holes); every experiment needs "
            f"epochs 1..{epochs} on folds {', '.join(map(str, folds))}"
        )
    shape = (len(names), len(folds))
    best = np.maximum.accumulate(values.to_numpy(np.float64).reshape(*shape, epochs), axis=2)
    cells = {c: _per_cell(keyed, c, where).to_numpy(np.float64).reshape(shape) for c in PER_CELL if c in keyed}
    final = cells.get("final", best[:, :, -1])
    if np.isnan(final).any():
        row, column = np.argwhere(np.isnan(final))[0]
        raise ValueError(f"{where}: no final for experiment {names[row]}, fold {folds[column]}")
    kinds = ("one",) * len(names) if "kind" not in keyed else _kinds(keyed, names, where)
    return Recorded(
        Curves(best, final, kinds, cells.get("clip_variance")), names, folds, _hyperparameters(keyed, names)
    )


def _cell(experiment: Any, fold: Any, epoch: Any) -> str:
    return f"experiment {experiment}, fold {fold}, epoch {epoch}"


def _per_cell(keyed: pd.DataFrame, column: str, where: str) -> pd.Series:
    """One value an experiment and fold, in the order of the table's experiments."""
    groups = keyed.groupby(level=["experiment", "fold"])[column]
    changing = groups.nunique(dropna=False).loc[lambda n: n > 1]
    if len(changing):
        experiment, fold = changing.index[0]
        raise ValueError(f"{where}: {column} changes within experiment {experiment}, fold {fold}; it is one a fold")
    order = list(dict.fromkeys(keyed.index.get_level_values("experiment")))
    return groups.first().reindex(order, level="experiment")


def _kinds(keyed: pd.DataFrame, names: Sequence[str], where: str) -> tuple[str, ...]:
    groups = keyed.groupby(level="experiment")["kind"]
    changing = groups.nunique(dropna=False).loc[lambda n: n > 1]
    if len(changing):
        raise ValueError(f"{where}: kind changes within experiment {changing.index[0]}; it is one an experiment")
    return tuple(str(kind) for kind in groups.first().loc[list(names)])


def _hyperparameters(keyed: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    other = keyed[[c for c in keyed.columns if c not in RECORDED]]
    groups = other.groupby(level="experiment")
    constant = [c for c in other.columns if (groups[c].nunique(dropna=False) <= 1).all()]
    return groups[constant].first().loc[list(names)] if constant else pd.DataFrame(index=list(names))


def open_run(run_dir: str) -> RunStore:
    """The run in a folder such as ``runs/table``, or at a URI."""
    parent, _, name = run_dir.rstrip("/").rpartition("/")
    return RunStore(parent or ("/" if run_dir.startswith("/") else "."), name)


def from_run(store: RunStore) -> pd.DataFrame:
    """The complete experiments of a run as a table that `load` reads.

    Returns
    -------
    pd.DataFrame
        One row an experiment, fold and epoch: experiment, the hyperparameters that differ between the
        experiments under their dotted names (lists as JSON), fold, epoch, train_loss, val_lwlrap, seconds
        (since the fold began), final, kind (``schedule.name``) and clip_variance (beside the best of the other
        experiments on that fold, `raytag.search.race.clip_luck.clip_variance`).

    Raises
    ------
    ValueError
        No experiment is complete, or their curves are not of one length.
    """
    names = store.complete()
    if not names:
        raise ValueError(f"run {store.name!r} has no complete experiment yet; nothing to record")
    experiments = {name: store.experiment(name) for name in names}
    flats = {name: {k: _plain(v) for k, v in e.flat().items()} for name, e in experiments.items()}
    shared = [k for k in flats[names[0]] if all(k in flat for flat in flats.values())]
    differing = [k for k in shared if len({flat[k] for flat in flats.values()}) > 1]
    variances = _clip_variances(store, names)
    parts = []
    for name, fold in itertools.product(names, range(store.n_folds)):
        cell = store.fold(name, fold)
        curve = cell.curve()
        part = pd.DataFrame({"experiment": name, **{k: flats[name][k] for k in differing}}, index=curve.index)
        part["fold"], part["epoch"] = fold, curve["epoch"]
        part["train_loss"], part["val_lwlrap"] = curve["train_loss"], curve["lwlrap"]
        part["seconds"] = curve["seconds"]
        part["final"], part["kind"] = float(cell.result()["lwlrap"]), experiments[name].schedule.name
        part["clip_variance"] = variances[name, fold]
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    arrange(frame, f"run {store.name!r}")  # what cannot be read is not worth writing
    return frame


def _plain(value: Any) -> Any:
    """Numbers and strings as they are, sequences as JSON: a column of a table holds values of one type."""
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else value


def _clip_variances(store: RunStore, names: Sequence[str]) -> dict[tuple[str, int], float]:
    """Each cell beside the best of the others on its fold; NaN where there is nothing to compare with."""
    clips, found = store.clips(), {}
    for fold in range(store.n_folds):
        ranked = sorted(names, key=lambda e: (store.fold(e, fold).result()["lwlrap"], e), reverse=True)
        tables = {e: store.fold(e, fold).oof() for e in ranked}
        for e in ranked:
            other = next((o for o in ranked if o != e), None)
            variance = None if other is None else clip_variance(tables[e], tables[other], clips)
            found[e, fold] = float("nan") if variance is None else variance
    return found
