"""Replays of recorded curves under a rule, and what they cost and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import _published
import numpy as np
import pandas as pd
from _published import Outcome

from raytag.search.race.replay import Curves, simulate
from raytag.search.race.rules import RULES
from raytag.search.race.settings import Settings

Rule = Callable[[Curves, Sequence[int]], Outcome]

PUBLISHED: dict[str, Rule] = {
    "full CV": _published.full_cv,
    "per-trial ASHA": _published.trial_asha,
    "aggressive": _published.aggressive,
    "forgiving": _published.forgiving,
}


@dataclass(frozen=True)
class Arrival:
    """In which order experiments and folds come."""

    experiments: tuple[int, ...]
    folds: tuple[int, ...]  # positions on the table's axis of folds


def arrivals(n: int, n_folds: int, number: int, seed: int | Sequence[int], *, shuffle_folds: bool) -> list[Arrival]:
    """``number`` random orders of ``n`` experiments; folds in the table's order unless they are shuffled too."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        experiments = tuple(int(e) for e in rng.permutation(n))
        folds = tuple(int(k) for k in rng.permutation(n_folds)) if shuffle_folds else tuple(range(n_folds))
        found.append(Arrival(experiments, folds))
    return found


def race(settings: Settings, slots: int = 1) -> Rule:
    """raytag's race with these settings as a rule."""

    def rule(curves: Curves, order: Sequence[int]) -> Outcome:
        replay = simulate(curves, settings, order, slots)
        return replay.epochs, replay.complete

    return rule


def all_rules(keep: int, slots: int = 1, z: float = Settings.z) -> dict[str, Rule]:
    """Every published rule, and raytag in every mode."""
    modes = {f"raytag {mode}": race(Settings(mode, keep, z=z), slots) for mode in RULES}
    return {**PUBLISHED, **modes}


def play(rule: Rule, curves: Curves, arrival: Arrival) -> Outcome:
    return rule(curves.folds(arrival.folds), arrival.experiments)


def measure(curves: Curves, outcome: Outcome, keep: int) -> dict[str, float]:
    """What one replay of all experiments cost and kept.

    Returns
    -------
    dict
        spent: fold-epochs trained, as a share of full cross-validation; kept: how many of the true best ``keep``
        (by their mean final lwlrap over all folds) are complete; regret: by how much the best complete experiment
        is worse than the best of all, in lwlrap (its whole lwlrap where none is complete); complete: how many.
    """
    epochs, complete = outcome
    truth = curves.final.mean(axis=1)
    best = set(np.argsort(-truth, kind="stable")[:keep].tolist())
    reached = float(truth[complete].max()) if complete else 0.0
    return {
        "spent": float(epochs.sum()) / curves.best.size,
        "kept": float(len(best & set(complete))),
        "regret": float(truth.max()) - reached,
        "complete": float(len(complete)),
    }


def replays(
    curves: Curves, rule: Rule, orders: Sequence[Arrival], keep: int, advance: Callable[[float], None]
) -> pd.DataFrame:
    """One row a replay: spent, kept, regret, complete (`measure`). ``advance`` is told 1 after each."""
    rows = []
    for arrival in orders:
        rows.append(measure(curves, play(rule, curves, arrival), keep))
        advance(1)
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """Median with the 5 % and 95 % quantiles; regret by its mean and 95 % quantile."""
    found: dict[str, Any] = {}
    for column in ("spent", "kept", "complete"):
        low, middle, high = np.quantile(rows[column], [0.05, 0.5, 0.95])
        found |= {column: float(middle), f"{column}_low": float(low), f"{column}_high": float(high)}
    return {
        **found,
        "spent_mean": float(rows["spent"].mean()),
        "kept_mean": float(rows["kept"].mean()),
        "regret_mean": float(rows["regret"].mean()),
        "regret_high": float(rows["regret"].quantile(0.95)),
        "replays": len(rows),
    }


def compare(
    curves: Curves,
    rules: Mapping[str, Rule],
    orders: Sequence[Arrival],
    keep: int,
    advance: Callable[[float], None],
) -> list[dict[str, Any]]:
    """`summary` of every rule over the same orders of arrival, order by order: slow rules do not come last."""
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in rules}
    for arrival in orders:
        for name, rule in rules.items():
            rows[name].append(replays(curves, rule, [arrival], keep, advance))
    return [{"rule": name, **summary(pd.concat(frames))} for name, frames in rows.items()]
