"""Bootstrap by source recording, where a clip may mix several: shared by the benchmarks on hidden test labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from raytag.datasets.table import multi_hot

DRAWS = 2000


class Sources:
    """Draws of source recordings.

    Clips that share a recording are not independent. Each draw resamples the recordings; a clip weighs the
    product of how often its recordings were drawn (Owen 2007, the pigeonhole bootstrap).
    """

    def __init__(self, sources: Sequence[Sequence[str]], seed: int) -> None:
        names = sorted({s for row in sources for s in row})
        self._number = {s: i for i, s in enumerate(names)}
        n = len(names)
        self._draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float32)

    def __len__(self) -> int:
        return len(self._number)

    def weights(self, sources: Sequence[Sequence[str]]) -> np.ndarray:
        """Weight of each clip in each draw, (DRAWS, n_clips) float32."""
        found = np.ones((DRAWS, len(sources)), np.float32)
        for i, row in enumerate(sources):
            for source in row:
                found[:, i] *= self._draws[:, self._number[source]]
        return found


def samples(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of ``values`` (n,) under each row of ``weights`` (draws, n)."""
    return (weights @ values) / weights.sum(axis=1)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def cell(value: float, drawn: np.ndarray, sign: str = "") -> str:
    """A value of a table with its interval; ``sign="+"`` for differences."""
    low, high = interval(drawn)
    return f"{value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"


def read_truth(file: Path, fnames: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray, list[list[str]]]:
    """Targets (n_clips, n_classes) float32 and source recordings of clips, from a CSV fname,labels,sources."""
    truth = pd.read_csv(file, dtype=str).set_index("fname").loc[list(fnames)]
    return multi_hot(truth["labels"].tolist(), tuple(classes)), truth["sources"].str.split().tolist()
