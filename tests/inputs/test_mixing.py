"""Evidence of samples that are heard together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raytag.batch import Drawn
from raytag.inputs.mixing import mixed_targets


def drawn(rng: np.random.Generator, n: int = 60, classes: int = 5, **planes) -> Drawn:
    labels = [np.round(rng.random((n, classes)) * 4).astype(np.float32) / 4 for _ in range(2)]
    return Drawn(np.arange(n), np.arange(n)[::-1], *labels, rng.random(n) < 0.5, **planes)


def test_known_labels_stay_known_whether_given_as_one_plane_or_two():
    """absent = 1 - present after every mixer, soft labels included."""
    rng = np.random.default_rng(0)
    one = drawn(rng)
    two = Drawn(
        one.rows,
        one.partners,
        one.present,
        one.partner_present,
        one.noisy,
        1 - one.present,
        1 - one.partner_present,
    )
    kind = rng.integers(0, 3, len(one.rows))
    how = kind == 1, kind == 2, rng.uniform(0, 0.5, len(kind)).astype(np.float32)
    plain, planes = mixed_targets(one, *how), mixed_targets(two, *how)
    assert plain.absent is None
    assert torch.equal(plain.present, planes.present)
    torch.testing.assert_close(planes.absent, 1 - plain.present, rtol=0, atol=1e-6)
    labels, weights = planes.labels(torch.float32)
    torch.testing.assert_close(labels, plain.present, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights, torch.ones_like(labels), rtol=0, atol=1e-6)


def test_what_one_of_two_does_not_know_is_absent_of_neither():
    """Class by class: present, absent and unknown of the sample against the same of its partner."""
    states = {"present": (1.0, 0.0), "absent": (0.0, 1.0), "unknown": (0.0, 0.0)}
    pairs = [(a, b) for a in states for b in states]
    own = np.array([[states[a] for a, _ in pairs]], np.float32)
    other = np.array([[states[b] for _, b in pairs]], np.float32)
    planes = own[..., 0], other[..., 0], np.array([False]), own[..., 1], other[..., 1]
    given = Drawn(np.array([0]), np.array([1]), *planes)
    yes, no = np.array([True]), np.array([False])
    joined = mixed_targets(given, yes, no, np.zeros(1, np.float32))
    names = {(1.0, 0.0): "present", (0.0, 1.0): "absent", (0.0, 0.0): "unknown"}
    found = [names[float(p), float(a)] for p, a in zip(joined.present[0], joined.absent[0], strict=True)]
    expected = [
        "present" if "present" in pair else "absent" if pair == ("absent",) * 2 else "unknown" for pair in pairs
    ]
    assert found == expected
    added = mixed_targets(given, no, yes, np.full(1, 0.25, np.float32))
    weights = dict(zip(pairs, added.labels(torch.float32)[1][0].tolist(), strict=True))
    assert weights["present", "absent"] == 1
    assert weights["unknown", "absent"] == 0.25
    assert weights["present", "unknown"] == 0.75
    assert weights["unknown", "unknown"] == 0


def test_half_of_the_evidence_is_refused():
    """Else labels that nobody knows would count as absent."""
    given = drawn(np.random.default_rng(0))
    with pytest.raises(ValueError, match="absent and partner_absent, or neither"):
        replace(given, absent=1 - given.present)
