"""The rules as they are written down, decided from nothing but the facts: an oracle for races."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raytag.search.race.fold_effects import MIN_DOF, PRIOR_DOF

MODES = ("none", "asha", "exact", "paired")  # the rules that it knows


def residual_variance(cells, priors):
    """s² by least squares on the full dummy design: cells is {(experiment, fold): lwlrap}."""
    rows, columns = sorted({e for e, _ in cells}), sorted({k for _, k in cells})
    design = np.zeros((len(cells), len(rows) + len(columns)))
    for i, (e, k) in enumerate(cells):
        design[i, rows.index(e)] = design[i, len(rows) + columns.index(k)] = 1
    values = np.array(list(cells.values()))
    square = ((values - design @ np.linalg.lstsq(design, values, rcond=None)[0]) ** 2).sum()
    dof = len(cells) - np.linalg.matrix_rank(design)
    if priors:
        return (PRIOR_DOF * np.mean(priors) + square) / (PRIOR_DOF + dof)
    return square / dof if dof >= MIN_DOF else None


class Oracle:
    """The rules of one launch as they are written down, over plain dictionaries; no failures, one fold order."""

    def __init__(self, event):
        self.mode, self.keep = event["settings"]["stopping"], event["settings"]["keep"]
        self.eta, self.z = event["settings"]["eta"], event["settings"]["z"]
        self.folds, self.weights = event["folds"], event["weights"]
        self.kind, self.rungs, self.cells, self.out, self.priors = {}, {}, {}, set(), []
        self.judged = None

    def fact(self, event):
        e, self.judged = event["experiment"], None
        if event["event"] == "propose":
            self.kind[e] = event["kind"]
        elif event["event"] == "rung":
            self.rungs[e, event["rung"]] = event["value"]
            self.judged = e, event["rung"]
        else:
            self.cells[e, event["fold"]] = event["lwlrap"]
            if event["clip_variance"] is not None:
                self.priors.append(event["clip_variance"])

    def depth(self, e):
        return next((d for d, k in enumerate(self.folds) if (e, k) not in self.cells), len(self.folds))

    def mean(self, e, d):
        return float(np.mean([self.cells[e, k] for k in self.folds[:d]]))

    def failing(self, e):
        """(value, bar, margin) if the rules drop e now."""
        d, wide = self.depth(e), len(self.folds)
        if self.mode == "none" or d == wide:
            return None
        if self.mode == "exact":

            def bound(o, unknown):
                cells = [w * self.cells.get((o, k), unknown) for k, w in zip(self.folds, self.weights, strict=True)]
                return math.fsum(cells) / math.fsum(self.weights)

            others = sorted((bound(o, 0.0) for o in self.kind if o != e), reverse=True)
            if d == 0 or len(others) < self.keep or bound(e, 1.0) >= others[self.keep - 1]:
                return None
            return bound(e, 1.0), others[self.keep - 1], 0.0
        if d == 0:
            if self.judged is None or self.judged[0] != e:
                return None
            level = self.judged[1]
            like = sorted((v for (o, r), v in self.rungs.items() if r == level and self.kind[o] == self.kind[e]))
            places, mine = max(self.keep, math.ceil(len(like) / self.eta)), self.rungs[e, level]
            return (mine, like[-places], 0.0) if len(like) > places and mine < like[-places] else None
        if self.mode != "paired":
            return None
        means = sorted(self.mean(o, d) for o in self.kind if self.depth(o) >= d)
        variance = residual_variance(self.cells, self.priors)
        if len(means) < self.keep + 2 or variance is None:
            return None
        bar, margin = means[-self.keep], self.z * math.sqrt(variance * 2 * (1 / d - 1 / wide))
        return (self.mean(e, d), bar, margin) if bar - self.mean(e, d) > margin else None

    def open(self):
        return [e for e in self.kind if e not in self.out]


def explain(events):
    """Check every decision of one launch without failures, and that none is missing; how many there were."""
    oracle, decided = Oracle(events[0]), 0
    for i, event in enumerate(events[1:], 1):
        if event["event"] != "drop":
            assert event["event"] in ("propose", "rung", "fold")
            oracle.fact(event)
        else:
            decided += 1
            e = event["experiment"]
            assert e in oracle.open()
            assert len(oracle.open()) > oracle.keep
            found = oracle.failing(e)
            assert found is not None
            assert (event["value"], event["bar"], event["margin"]) == pytest.approx(found, abs=1e-9)
            oracle.out.add(e)
        last = i + 1 == len(events) or events[i + 1]["event"] != "drop"
        if last and len(oracle.open()) > oracle.keep:
            missing = {e: oracle.failing(e) for e in oracle.open()}
            # bars that are met up to rounding may be decided either way
            sharp = {e: f for e, f in missing.items() if f is not None and f[1] - f[0] - f[2] > 1e-9}
            assert not sharp
    return decided


def passes(race, entry, rules):
    """Whether an experiment passes where it stands now, under rules, by the oracle."""
    oracle = Oracle({"settings": rules.plain(), "folds": race.folds, "weights": list(race.state.weights.values())})
    shares = list(rules.shares)
    for e in race.entries.values():
        oracle.kind[e.id] = e.kind
        oracle.cells |= {(e.id, k): v for k, v in e.folds.items()}
        oracle.rungs |= {(e.id, shares.index(s)): v for (_, s), v in e.rungs.items() if s in shares}
    oracle.priors = race.state.priors
    levels = [r for o, r in oracle.rungs if o == entry.id]
    oracle.judged = (entry.id, max(levels)) if levels else None
    return oracle.failing(entry.id) is None
