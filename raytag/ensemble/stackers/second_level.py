"""The second level of an ensemble: which stackers are trained on what, spread over the cluster.

A stacker reads the out-of-fold probabilities of the best subset's members. Each set of left-out folds is a case of
its own, with the members that were chosen without these folds: one fold for the nested score, two for choosing
between ways (`raytag.ensemble.assess.assessment`), and one fold with the final members for the stackers that are
kept and that predict test clips.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from raytag.cluster.tasks import Worker, run_tasks
from raytag.console import say
from raytag.ensemble.choose.choices import Choices
from raytag.ensemble.choose.left_out import LeftOut
from raytag.ensemble.predictions.oof import OofMatrix
from raytag.ensemble.predictions.windows import UNMADE, ClipTiles, load_windows
from raytag.ensemble.stackers.case import Case, CaseResult, StackerConfig, StackerData, Trained, run_case


@dataclass(frozen=True)
class SecondLevel:
    """All trained stackers that their case kept.

    Attributes
    ----------
    fold : np.ndarray [shape=(n_clips,)]
    final_members : tuple of int
        Whom the final stackers read.
    cases : dict of (members, left out) to CaseResult
    n_folds : int
    workers : list of Worker
    seconds : float
    faithful : bool
        Whether networks were stopped and chosen on the folds that they are scored on.
    """

    fold: NDArray[np.int64]
    final_members: tuple[int, ...]
    cases: dict[tuple[tuple[int, ...], LeftOut], CaseResult]
    n_folds: int
    workers: list[Worker]
    seconds: float
    faithful: bool = False

    def finalists(self, members: tuple[int, ...], left_out: LeftOut, family: str) -> list[Trained]:
        """The best stackers of a family in a case, best first."""
        return [t for t in self.cases[members, left_out].finalists if t.family == family]

    def predictions(
        self, members: tuple[int, ...], left_out: LeftOut, family: str, fold: int
    ) -> NDArray[np.float32]:
        """What the best stackers of a case predict for one of the folds that it left out.

        Returns
        -------
        np.ndarray [shape=(n_finalists, clips of the fold, n_classes)], float32
        """
        rows = self.fold[np.isin(self.fold, left_out)] == fold
        return np.stack([t.oof[rows] for t in self.finalists(members, left_out, family)])

    def final(self, fold: int, family: str) -> list[Trained]:
        """The stackers of a family that are kept for a fold."""
        return self.finalists(self.final_members, (fold,), family)

    def all_final(self, fold: int) -> list[Trained]:
        """The stackers of every family that are kept for a fold."""
        return self.cases[self.final_members, (fold,)].finalists


def train_second_level(
    oof: OofMatrix,
    choices: Choices,
    configs: Sequence[StackerConfig],
    seed: int,
    console: Console,
    faithful: bool = False,
) -> SecondLevel:
    """Train the stackers of every case.

    Parameters
    ----------
    oof : OofMatrix
    choices : Choices
    configs : sequence of StackerConfig
        The MLPs; the linear ones come along.
    seed : int
    console : rich.console.Console
        For progress.
    faithful : bool
        As of `raytag.ensemble.stackers.values.Case`.
    """
    final = choices.on_all.ways["subset"].members
    has_test = oof.test is not None
    cases: dict[tuple[tuple[int, ...], LeftOut], Case] = {
        (final, (k,)): Case(final, (k,), with_test=has_test, keep_weights=True, faithful=faithful)
        for k in range(oof.n_folds)
    }
    for left_out, choice in choices.without.items():
        members = choice.ways["subset"].members
        if left_out:
            cases.setdefault((members, left_out), Case(members, left_out, faithful=faithful))
    windows = _windows(oof, {m for members, _ in cases for m in members}, console) if configs else {}
    data = StackerData(oof.probabilities, oof.targets, oof.fold, oof.group, oof.test, windows)
    outcome = run_tasks(
        _run_case,
        (data, configs, seed),
        list(cases.values()),
        label=f"stackers ({len(cases)} selections)",
        weights=[float(len(case.members)) for case in cases.values()],
        console=console,
    )
    return SecondLevel(
        fold=oof.fold,
        final_members=final,
        cases=dict(zip(cases, outcome.results, strict=True)),
        n_folds=oof.n_folds,
        workers=outcome.workers,
        seconds=outcome.seconds,
        faithful=faithful,
    )


def _windows(oof: OofMatrix, members: Collection[int], console: Console) -> dict[int, ClipTiles]:
    """The tiles of members, and a word about those without."""
    found: dict[int, ClipTiles] = {}
    lacking: dict[str, str] = {}
    for member in sorted(members):
        windows = load_windows(oof, member)
        if isinstance(windows, ClipTiles):
            found[member] = windows
        else:
            lacking[oof.experiments[member]] = windows
    if {*lacking.values()} == {UNMADE} and not found:
        say(
            console,
            "Networks learn from means over all tiles of a clip; raytag windows would give them random ones",
        )
    elif lacking:
        names = ", ".join(f"{name} ({why})" for name, why in lacking.items())
        say(console, f"Networks learn from means over all tiles of a clip wherever they read {names}")
    return found


def _run_case(shared: tuple[StackerData, Sequence[StackerConfig], int], case: Case) -> CaseResult:
    data, configs, seed = shared
    return run_case(data, case, configs, seed)
