"""The leaderboard of a run, from what its store holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from raytag.store.run import RunStore, lineage_in


def leaderboard(store: RunStore, leaky: bool = False) -> pd.DataFrame:
    """One row an experiment, the best first; those that are marked leaky after all others, unless ``leaky``.

    Columns: experiment, cv_lwlrap, fold_0 … fold_K-1, epochs, seconds, total_seconds, stage, leaky. ``cv_lwlrap``
    is pooled over all out-of-fold clips, which is the mean of the folds weighted by their number of labels; it is
    missing (NaN) until all folds are finished. ``epochs`` and ``seconds`` are sums over the folds, those of
    unfinished ones included; ``total_seconds`` has those of all models too from which they learned.
    """
    models: dict[str, Mapping[str, Any] | None] = {}

    def result_of(model: str) -> Mapping[str, Any] | None:
        if model not in models:
            models[model] = store.model(*model.split("/")).look()[0]
        return models[model]

    def read_by(model: str, found: set[str]) -> set[str]:
        """The models of earlier stages that a model learned from, and those that these did."""
        result = result_of(model) or {}
        for earlier in lineage_in(result).get("read", {}):
            if earlier not in found:
                found.add(earlier)
                read_by(earlier, found)
        return found

    rows = []
    for experiment_id in store.experiments():
        row: dict[str, object] = {"experiment": experiment_id, "cv_lwlrap": float("nan")}
        results, epochs, seconds, earlier = [], 0, 0.0, set[str]()
        for fold in range(store.n_folds):
            part = store.fold(experiment_id, fold)
            row[f"fold_{fold}"] = float("nan")
            result = result_of(f"{experiment_id}/fold_{fold}")
            if result is not None:
                row[f"fold_{fold}"] = result["lwlrap"]
                results.append(result)
                epochs, seconds = epochs + result["epochs"], seconds + result["seconds"]
                read_by(f"{experiment_id}/fold_{fold}", earlier)
            else:
                curve = part.curve()
                epochs += len(curve)
                seconds += float(curve["seconds"].max()) if len(curve) else 0.0
        if len(results) == store.n_folds:
            row["cv_lwlrap"] = pooled(results)
        lineage = lineage_in(results[0]) if results else store.lineage(experiment_id)
        row |= {"stage": lineage["stage"], "leaky": lineage["leaky"]}
        before = sum(float(own["seconds"]) for model in earlier if (own := result_of(model)) is not None)
        costs = {"epochs": epochs, "seconds": round(seconds, 1), "total_seconds": round(seconds + before, 1)}
        rows.append({**row, **costs})
    folds = [f"fold_{k}" for k in range(store.n_folds)]
    columns = ["experiment", "cv_lwlrap", *folds, "epochs", "seconds", "total_seconds", "stage", "leaky"]
    table = pd.DataFrame(rows, columns=columns)
    last = table["leaky"].astype(bool) & (not leaky)
    order = ["cv_lwlrap", *folds]
    table = table.assign(last=last).sort_values(
        ["last", *order], ascending=[True, *[False] * len(order)], na_position="last", ignore_index=True
    )
    return table.drop(columns="last")


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
