"""From an OOF matrix to an ensemble with its honest score.

Everything that is chosen (single model, subset, greedy bag, weights, stackers, and which of these to keep) is
chosen once on all folds, to be used, and again with folds left out, to be scored on them. The second half never
looks at the left-out folds' labels before it is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from raytag.blends.means.base import from_scores
from raytag.cluster.tasks import keep_workers
from raytag.ensemble.assess.assessment import Assessment, WayScores, assess
from raytag.ensemble.choose.choices import Choices, choose
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.predictions.oof import EnsembleError, OofMatrix
from raytag.ensemble.stackers.grid import draw_configs
from raytag.ensemble.stackers.second_level import SecondLevel, train_second_level
from raytag.ensemble.stored import blend_all


@dataclass(frozen=True)
class EnsembleSettings:
    """What determines an ensemble, beside the predictions.

    Attributes
    ----------
    sizes : tuple of int
        Numbers of members of a subset.
    blend : str
        One of `raytag.blends.means.BLENDS`.
    budget : float
        Seconds for the exact search, as predicted; sizes beyond it are searched by exchanging members.
    top : int
        Best subsets to list.
    stackers : int
        Number of MLPs; 0 for no second level.
    seed : int
    way : str
        The way of choosing to keep, one of `raytag.ensemble.choose.ways.WAYS`, or the rule that decides, one of
        `raytag.ensemble.choose.ways.RULES`.
    stackers_from : str
        One of `raytag.ensemble.stackers.grid.SOURCES`.
    stacker_draws : int, optional
        Clips that MLPs draw an epoch; by default what their source says.
    faithful : bool
        Whether MLPs are stopped and chosen on the fold that they are scored on.
    """

    sizes: tuple[int, ...]
    blend: str
    budget: float
    top: int
    stackers: int
    seed: int
    way: str = "auto"
    stackers_from: str = "raytag"
    stacker_draws: int | None = None
    faithful: bool = False


@dataclass(frozen=True)
class Ensemble:
    """What was found.

    Attributes
    ----------
    choices : Choices
    second : SecondLevel or None
    assessment : Assessment
    oof : np.ndarray [shape=(n_clips, n_classes)], float64
        Probabilities of the kept ensemble; stackers predict only folds that they were not trained on.
    test : np.ndarray [shape=(n_test, n_classes)], float64, or None
    """

    choices: Choices
    second: SecondLevel | None
    assessment: Assessment
    oof: NDArray[np.float64]
    test: NDArray[np.float64] | None

    @property
    def weights(self) -> dict[int, int]:
        """Integer weights of the kept ensemble's first-level members."""
        members, weights = _members(self.choices, self.assessment.final.way)
        return dict(zip(members, map(int, weights), strict=True))


def search_ensemble(oof: OofMatrix, settings: EnsembleSettings, console: Console) -> Ensemble:
    """Choose, train the second level, assess, and blend.

    Parameters
    ----------
    oof : OofMatrix
    settings : EnsembleSettings
    console : rich.console.Console
        For progress.

    Raises
    ------
    EnsembleError
        The way that is to be kept needs stackers, and there are none.
    """
    labelled = np.unique(oof.fold[oof.targets.any(axis=1)])
    given = WAYS.get(settings.way)
    if given and given.stackers and not (settings.stackers and len(labelled) > 1):
        raise EnsembleError(f"--way {settings.way} needs stackers: --stackers above 0, and two folds with labels")
    second = None
    with keep_workers():
        choices = choose(
            oof,
            settings.sizes,
            settings.top,
            settings.blend,
            settings.budget,
            settings.seed,
            console,
            between_ways=given is None,
        )
        if settings.stackers and choices.outer:
            configs = draw_configs(settings.stackers, settings.seed, settings.stackers_from, settings.stacker_draws)
            second = train_second_level(oof, choices, configs, settings.seed, console, settings.faithful)
    scores = WayScores(oof, settings.blend, choices, second)
    assessment = assess(scores, settings.seed, settings.way)
    way = assessment.final.way
    return Ensemble(
        choices,
        second,
        assessment,
        oof=predict_oof(scores, way),
        test=predict_test(oof, settings.blend, choices, second, way),
    )


def predict_oof(scores: WayScores, way: str) -> NDArray[np.float64]:
    """Probabilities of the ensemble that a way chooses on all folds, (n_clips, n_classes)."""
    predicted = np.empty(scores.oof.targets.shape)
    for fold in range(scores.oof.n_folds):
        predicted[scores.oof.fold == fold] = from_scores(*scores.of(way, (), fold), scores.blend)
    return predicted


def predict_test(
    oof: OofMatrix, kind: str, choices: Choices, second: SecondLevel | None, way: str
) -> NDArray[np.float64] | None:
    """As `predict_oof` for the test clips."""
    if oof.test is None:
        return None
    members, weights = _members(choices, way)
    stackers: list[list[NDArray[np.float32]]] = []
    if family := WAYS[way].stackers:
        assert second is not None
        stackers = [[s.test for s in second.final(k, family) if s.test is not None] for k in range(oof.n_folds)]
    return blend_all([*oof.test[members]], weights, stackers, kind)


def _members(choices: Choices, way: str) -> tuple[list[int], Sequence[float]]:
    """First-level members of a way and their weights; none for stackers alone."""
    name = WAYS[way].members_of
    if name is None:
        return [], []
    found = choices.on_all.ways[name].members
    members = sorted(set(found))
    return members, [float(found.count(m)) for m in members]
