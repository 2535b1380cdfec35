"""Which second-level networks are trained: raytag's random grid, or argus-freesound's two, or its three chosen.

argus-freesound's searches rs_004 and rs_005 and the models ``stacking_008`` that won Freesound Audio Tagging 2019
have their published ranges and constants; what is drawn is drawn from raytag's streams. raytag's own ranges are
those of the two together, but for a learning rate that needs a tenth of the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from raytag.seeding import generator


@dataclass(frozen=True)
class StackerConfig:
    """One network; what stored ones of before do not name has their meaning as its default.

    Attributes
    ----------
    base_size : int
        Units of the last hidden layer.
    reduction_scale : int
        Of the gate.
    dropout, lr : float
    patience : int
        Plateau: epochs without improvement that are tolerated.
    factor : float
        Plateau: multiplies the rate.
    batch_size : int
        Clips.
    reads : str
        ``log_odds``: scaled ones; training starts from the classes' frequencies. ``probabilities``: as they are;
        training starts from torch's own biases.
    draws : int
        Clips an epoch, drawn with replacement; 0: each clip once.
    epochs : int
        At most; 0: by the number of clips (`raytag.ensemble.stackers.training.limits`).
    stop : int
        Epochs without a new best after which training ends; 0: by the number of epochs.
    """

    name: str
    base_size: int
    reduction_scale: int
    dropout: float
    lr: float
    patience: int
    factor: float
    batch_size: int
    reads: Literal["log_odds", "probabilities"] = "log_odds"
    draws: int = 0
    epochs: int = 0
    stop: int = 0


@dataclass(frozen=True)
class Search:
    """Ranges of a random search, ends included; all its networks share ``rest``."""

    about: str
    prefix: str
    base_sizes: tuple[int, ...]
    reductions: tuple[int, ...]
    dropout: float  # at most
    lr: tuple[float, float]
    log_lr: bool = False  # whether the rate's logarithm is uniform
    rest: Mapping[str, Any] = field(default_factory=dict)
    batch_sizes: tuple[int, ...] = (32, 64, 128)
    patience: tuple[int, int] = (3, 11)
    factor: tuple[float, float] = (0.5, 0.8)

    def draw(self, n: int, seed: int) -> list[StackerConfig]:
        """The first ``n``; more begin with the same."""
        return [self._one(i, generator(seed, i)) for i in range(n)]

    def _one(self, i: int, rng: np.random.Generator) -> StackerConfig:
        rate = rng.uniform(*(np.log(self.lr) if self.log_lr else self.lr))
        return StackerConfig(
            name=f"{self.prefix}-{i:03d}",
            base_size=int(rng.choice(self.base_sizes)),
            reduction_scale=int(rng.choice(self.reductions)),
            dropout=float(rng.uniform(0.0, self.dropout)),
            lr=float(np.exp(rate) if self.log_lr else rate),
            patience=int(rng.integers(*self.patience, endpoint=True)),
            factor=float(rng.uniform(*self.factor)),
            batch_size=int(rng.choice(self.batch_sizes)),
            **self.rest,
        )


@dataclass(frozen=True)
class Chosen:
    """Networks that somebody chose."""

    about: str
    configs: tuple[StackerConfig, ...]

    def draw(self, n: int, seed: int) -> list[StackerConfig]:
        """The first ``n``, or all."""
        return [*self.configs[:n]]


def _chosen(
    trial: int, reduction_scale: int, dropout: float, lr: float, patience: int, factor: float
) -> StackerConfig:
    name, rest = f"stacking_008_fcnet_{trial}", {**_PUBLISHED, "epochs": 700, "stop": 30}
    return StackerConfig(name, 512, reduction_scale, dropout, lr, patience, factor, 128, **rest)


_PUBLISHED: Mapping[str, Any] = {"reads": "probabilities", "draws": 32_768}
_SEARCHED = {**_PUBLISHED, "epochs": 300, "stop": 20}
_RATES = (1e-5, 1e-4)
#: Where networks may come from, by name.
SOURCES: Mapping[str, Search | Chosen] = {
    "raytag": Search(
        "a random grid of its own",
        "stacker",
        base_sizes=(64, 128, 256, 512),
        reductions=(1, 2, 4, 8, 16),
        dropout=0.7,
        lr=(3e-4, 3e-3),
        log_lr=True,
    ),
    "rs_004": Search(
        "argus-freesound's random search of that name",
        "rs_004",
        base_sizes=(64, 128, 256, 512),
        reductions=(2, 4, 8, 16),
        dropout=0.5,
        lr=_RATES,
        rest=_SEARCHED,
    ),
    "rs_005": Search(
        "its next one",
        "rs_005",
        base_sizes=(128, 256, 512),
        reductions=(1, 2, 4, 8),
        dropout=0.7,
        lr=_RATES,
        rest=_SEARCHED,
    ),
    "argus": Chosen(
        "the three that it chose, or the first --stackers of them",
        (
            _chosen(43040, 16, 0.0514108720891856, 4.5950585196710547e-05, 5, 0.657766056031002),
            _chosen(45041, 2, 0.48357033916143033, 3.897529465275052e-05, 9, 0.7953702239306087),
            _chosen(50013, 1, 0.1662788540244386, 2.5814932060476834e-05, 7, 0.5537460438294733),
        ),
    ),
}


def draw_configs(n: int, seed: int, source: str = "raytag", draws: int | None = None) -> list[StackerConfig]:
    """The first ``n`` networks of a source; more begin with the same.

    Parameters
    ----------
    n : int
        Of ``argus`` there are three and no more.
    seed : int
    source : str
        One of `SOURCES`.
    draws : int, optional
        Clips an epoch; by default 32,768 of the published, and each clip once of raytag's own.
    """
    configs = SOURCES[source].draw(n, seed)
    return configs if draws is None else [replace(config, draws=draws) for config in configs]
