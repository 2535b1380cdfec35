"""Small inputs of every kind for property tests of the ensemble search."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st


@st.composite
def problems(draw, max_models=6):
    """Few models on few clips: rounded to many ties, saturated, with copies, vanishing, or plain; with targets.

    One model, one class, identical models and clips without labels occur.
    """
    n_models, n_clips, n_classes = (
        draw(st.integers(1, max_models)),
        draw(st.integers(1, 12)),
        draw(st.integers(1, 6)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    probabilities = rng.random((n_models, n_clips, n_classes))
    kind = draw(st.sampled_from(["plain", "tied", "saturated", "copies", "tiny"]))
    if kind == "tied":
        probabilities = np.round(probabilities * 3) / 3
    elif kind == "saturated":
        probabilities[rng.random(probabilities.shape) < 0.3] = 0.0
        probabilities[rng.random(probabilities.shape) < 0.3] = 1.0
    elif kind == "copies":
        probabilities = probabilities[rng.integers(0, n_models, n_models)]
    elif kind == "tiny":
        probabilities = 10.0 ** (-45 * probabilities)
    targets = (rng.random((n_clips, n_classes)) < draw(st.sampled_from([0.2, 0.5, 1.0]))).astype(np.float32)
    targets[0, 0] = 1  # at least one label; other clips may have none
    return probabilities.astype(np.float32), targets


def exact_lwlrap(targets, scores) -> Fraction:
    """By the definition, without rounding: mean over labels of hits / rank."""
    total, labels = Fraction(0), 0
    for wanted, row in zip(targets > 0, scores, strict=True):
        for c in np.flatnonzero(wanted):
            above = row >= row[c]
            total += Fraction(int((above & wanted).sum()), int(above.sum()))
            labels += 1
    return total / labels
