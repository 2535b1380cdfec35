"""The leaderboard of a run, from what its store holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from raytag.store.run import RunStore


def leaderboard(store: RunStore) -> pd.DataFrame:
    """One row an experiment: experiment, cv_lwlrap, fold_0 … fold_K-1, epochs, seconds; the best first.

    ``cv_lwlrap`` is pooled over all out-of-fold clips, which is the mean of the folds weighted by their number
    of labels; it is missing (NaN) until all folds are finished. ``epochs`` and ``seconds`` are sums over
    the folds, those of unfinished ones included.
    """
    rows = []
    for experiment_id in store.experiments():
        row: dict[str, object] = {"experiment": experiment_id, "cv_lwlrap": float("nan")}
        results, epochs, seconds = [], 0, 0.0
        for fold in range(store.n_folds):
            part = store.fold(experiment_id, fold)
            row[f"fold_{fold}"] = float("nan")
            result, _ = part.look()
            if result is not None:
                row[f"fold_{fold}"] = result["lwlrap"]
                results.append(result)
                epochs, seconds = epochs + result["epochs"], seconds + result["seconds"]
            else:
                curve = part.curve()
                epochs += len(curve)
                seconds += float(curve["seconds"].max()) if len(curve) else 0.0
        if len(results) == store.n_folds:
            row["cv_lwlrap"] = pooled(results)
        rows.append({**row, "epochs": epochs, "seconds": round(seconds, 1)})
    columns = ["experiment", "cv_lwlrap", *(f"fold_{k}" for k in range(store.n_folds)), "epochs", "seconds"]
    table = pd.DataFrame(rows, columns=columns)
    order = ["cv_lwlrap", *(f"fold_{k}" for k in range(store.n_folds))]
    return table.sort_values(order, ascending=False, na_position="last", ignore_index=True)


def pooled(results: Iterable[Mapping[str, Any]]) -> float:
    """lwlrap over all clips of the folds with these results: their mean weighted by the number of labels."""
    labels = total = 0.0
    for result in results:
        labels, total = labels + result["labels"], total + result["lwlrap"] * result["labels"]
    return total / labels


def accuracy(store: RunStore, experiment_id: str) -> list[float | None]:
    """Top-1 accuracy of each finished fold over its clips with one label; None where unfinished."""
    folds = [store.fold(experiment_id, fold).look()[0] for fold in range(store.n_folds)]
    return [None if result is None else result["accuracy"] for result in folds]
