#!/usr/bin/env python3
"""Which rule for keeping an ensemble keeps what is best on hidden clips, and whose verdicts are true.

    for T in 1 3 5; do python ../shared/tools/make_fsd.py --out data/fsd$T --seed 0 --test-fold $T; done
    python benchmarks/honesty/rules.py benchmarks/data/hallmarks.parquet:hallmarks{1,3,5}:data/fsd{1,3,5}

(in a shell that expands the two braces together: name each rotation as RUNS:RUN:DATA.) RUNS is a folder of runs or
a file of kept predictions. In each rotation the whole pool of experiments and ``--pools`` smaller ones, drawn at
random, are searched in every way without stackers; every rule then keeps a way, and the hidden clips, which no rule
sees, say what that was worth:

- *regret*: the best way's lwlrap on hidden clips less that of the way that is kept; - *gain*: that of the way that
is kept less the best single model's; - *keeps the best*: in how many pools regret is 0; - of the verdict "Keep the
ensemble": how often it is said, and in how many of these cases the single model was better; - *covers*: in how many
pools the printed interval holds the difference on hidden clips. That difference has an error
  of its own, about as large as the printed one, so an ideal interval would hold it in about five of six pools.

Rules: ``before`` is the highest nested score among single, subset, greedy and weighted with intervals over clips
alone and nested differences; ``best`` is that rule among all ways, and ``auto`` the one that is kept by default,
both with the intervals and the smaller difference of `raytag.ensemble.assess`; ``book`` takes the error of the
highest score itself, as the book does, instead of that of the difference. Intervals of the means (95 %) are a
bootstrap of rotations, then of the pools within.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _kept import of_models, opened
from _sources import read_truth
from rich.console import Console
from rich.table import Table

from raytag.cluster.session import ray_session
from raytag.cluster.tasks import keep_workers
from raytag.console import ProgressBar, make_console
from raytag.ensemble.assess.assessment import Assessment, WayScores, assess
from raytag.ensemble.assess.bootstrap import Bootstrap, Interval
from raytag.ensemble.assess.verdict import verdict
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.pipeline import EnsembleSettings, predict_test, search_ensemble
from raytag.ensemble.predictions.oof import OofMatrix, load_oof
from raytag.metrics import label_precisions, lwlrap

BEFORE = ("single", "subset", "greedy", "weighted")
SIZES = (4, 6, 8, 12)  # of pools
DRAWS = 4000


@dataclass(frozen=True)
class Outcome:
    """What a rule did with a pool: the way that it kept, what that and others are on hidden clips, what it said."""

    way: str
    test: dict[str, float]
    keep: bool
    gap: Interval

    @property
    def gain(self) -> float:
        return self.test[self.way] - self.test["single"]

    @property
    def regret(self) -> float:
        return max(self.test.values()) - self.test[self.way]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rotation", nargs="+", metavar="RUNS:RUN:DATA")
    parser.add_argument("--pools", type=int, default=40, help="in each rotation, the whole one too (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    triples = [one.split(":") for one in args.rotation]
    found: dict[str, list[list[Outcome]]] = {}
    console = make_console()
    with ray_session(None) as wait_for_ray, keep_workers():
        wait_for_ray()
        with ProgressBar(console, "pools", len(triples) * args.pools) as progress:
            for number, (runs, run, data) in enumerate(triples):
                (store,) = opened(runs, [run], [data])
                oof = load_oof(store)
                truth, _ = read_truth(Path(data) / "truth/test.csv", oof.test_fnames, oof.classes)
                for outcomes in found.values():
                    outcomes.append([])
                for pool in pools(len(oof.experiments), args.pools, np.random.default_rng([args.seed, number])):
                    for rule, outcome in judged(of_models(oof, pool.tolist()), truth).items():
                        found.setdefault(rule, [[] for _ in range(number + 1)])[-1].append(outcome)
                    progress.advance(1)
    report(found, console)


def pools(n_models: int, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The whole pool, and smaller ones."""
    sizes = [size for size in SIZES if size < n_models]
    drawn = [np.sort(rng.choice(n_models, int(rng.choice(sizes)), replace=False)) for _ in range(n - 1)]
    return [np.arange(n_models), *drawn]


def judged(oof: OofMatrix, truth: np.ndarray) -> dict[str, Outcome]:
    """What every rule makes of a pool."""
    sizes = tuple(range(1, min(7, len(oof.experiments)) + 1))
    settings = EnsembleSettings(sizes, "geometric", 600.0, 10, 0, 0)
    ensemble = search_ensemble(oof, settings, Console(file=io.StringIO()))
    choices, scores = ensemble.choices, WayScores(oof, "geometric", ensemble.choices, None)
    test = {}
    for way in scores.ways:
        predicted = predict_test(oof, "geometric", choices, None, way)
        assert predicted is not None
        test[way] = lwlrap(truth, predicted)
    found = {"before": before(oof, ensemble.assessment, test), "book": book(oof, ensemble.assessment, test)}
    for rule, own in (("best", assess(scores, 0, "best")), ("auto", ensemble.assessment)):
        assert own.to_single is not None
        assert own.to_own is not None
        gap = min(own.to_single, own.to_own, key=lambda one: one.value)
        keep = verdict(own, "x").startswith("Keep the ensemble")
        found[rule] = Outcome(own.final.way, test, keep, gap)
    for way in WAYS:
        if way in test:
            found[f"always {way}"] = Outcome(way, test, False, Interval(0.0, 0.0, 0.0))
    return found


def _clip(oof: OofMatrix) -> np.ndarray:
    return label_precisions(oof.targets, np.zeros_like(oof.targets))[0]


def before(oof: OofMatrix, assessment: Assessment, test: dict[str, float]) -> Outcome:
    """The rule until this version; the choice between the ways not repeated inside."""
    ways = assessment.ways
    way = max(BEFORE, key=lambda one: ways[one].nested)
    gap = Bootstrap(oof.group.tolist(), _clip(oof)).interval(ways[way].nested_values - ways["single"].nested_values)
    return Outcome(way, test, way != "single" and gap.low > 0, gap)


def book(oof: OofMatrix, assessment: Assessment, test: dict[str, float]) -> Outcome:
    """The simplest within one standard error of the highest score itself."""
    ways, draws = assessment.ways, Bootstrap(oof.group.tolist(), _clip(oof), 0, oof.fold)
    best = max(ways, key=lambda one: ways[one].nested)
    bar = ways[best].nested - draws.error(ways[best].nested_values)
    way = next(one for one in ways if ways[one].nested >= bar)
    gap = draws.interval(ways[way].nested_values - ways["single"].nested_values)
    return Outcome(way, test, way != "single" and gap.low > 0, gap)


def report(found: dict[str, list[list[Outcome]]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("rule", "regret", "gain", "keeps the best", '"keep"', "wrongly", "covers"):
        table.add_column(column, justify="left" if column == "rule" else "right", no_wrap=True)
    for rule, rotations in found.items():
        regret = mean(rotations, lambda one: one.regret)
        gain = mean(rotations, lambda one: one.gain)
        every = [one for outcomes in rotations for one in outcomes]
        cells = [f"{np.mean([one.regret == 0 for one in every]):.0%}"]
        if not rule.startswith("always"):
            kept = [one for one in every if one.keep]
            wrongly = sum(one.gain < 0 for one in kept)
            covered = [one.gap.low <= one.gain <= one.gap.high for one in every if one.way != "single"]
            cells += [f"{len(kept)} of {len(every)}", f"{wrongly} of {len(kept)}"]
            cells.append(f"{sum(covered)} of {len(covered)}")
        table.add_row(rule, regret, gain, *cells)
    rotations = next(iter(found.values()))
    console.print(f"{len(rotations)} rotations, {sum(map(len, rotations))} pools; 95 % by rotation and pool")
    console.print(table)
    for number, outcomes in enumerate(zip(*(found["auto"], found["before"]), strict=True), start=1):
        auto, old = (np.mean([one.regret for one in own]) for own in outcomes)
        console.print(f"rotation {number}: regret of auto {auto:.4f}, before {old:.4f}")


def mean(rotations: list[list[Outcome]], value) -> str:  # type: ignore[no-untyped-def]
    """Mean over pools, with its interval."""
    values = [np.array([value(one) for one in outcomes]) for outcomes in rotations]
    rng, drawn = np.random.default_rng(0), np.empty(DRAWS)
    for i in range(DRAWS):
        picked = [values[k] for k in rng.integers(0, len(values), len(values))]
        drawn[i] = np.concatenate([one[rng.integers(0, len(one), len(one))] for one in picked]).mean()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{np.concatenate(values).mean():+.4f} [{low:+.4f}, {high:+.4f}]"


if __name__ == "__main__":
    main()
