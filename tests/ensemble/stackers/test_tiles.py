"""Means over random tiles of a clip."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from raytag.ensemble.predictions.windows import ClipTiles
from raytag.ensemble.stackers.tiles import draw_tiles, tile_means
from raytag.seeding import generator


def windows(counts, seed, n_classes=3):
    first = np.concatenate([[0], np.cumsum(counts)])
    return ClipTiles(np.random.default_rng(seed).random((first[-1], n_classes), np.float32), first)


def chosen(counts, seed=0):
    draw, tile = draw_tiles(np.array(counts), generator(seed))
    assert (np.diff(draw) >= 0).all()
    return [sorted(part.tolist()) for part in np.split(tile, np.searchsorted(draw, np.arange(1, len(counts))))]


def test_the_choice_is_argus_freesounds():
    """Half a contiguous part, then half a subset: the shares of every set of tiles, added up by hand."""
    n, draws = 3, 60_000
    expected = Counter()
    parts = [(0.5, range(n))] + [
        (0.5 / n / (n - length + 1), range(s, s + length))
        for length in range(1, n + 1)
        for s in range(n - length + 1)
    ]
    for share, part in parts:
        expected[tuple(part)] += share / 2
        m = len(part)
        subsets = {1: [(i,) for i in part], 2: [(a, b) for a in part for b in part if a < b], 3: [tuple(part)]}
        for size in range(1, m + 1):
            for subset in subsets[size]:
                expected[subset] += share / 2 / m / len(subsets[size])
    assert sum(expected.values()) == pytest.approx(1)
    found = Counter(map(tuple, chosen([n] * draws)))
    assert set(found) == set(expected)
    for subset, share in expected.items():
        assert found[subset] / draws == pytest.approx(share, abs=5 * (share / draws) ** 0.5), subset


def test_no_tile_twice_and_one_at_least():
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 30, 2000)
    for n, tiles in zip(counts, chosen(counts), strict=True):
        assert 1 <= len(tiles) == len(set(tiles))
        assert 0 <= tiles[0] <= tiles[-1] < n


def test_means_are_over_the_same_time_in_all_members():
    counts = np.array([[4, 1, 7], [2, 1, 7], [3, 5, 1]])
    members = [windows(own, m) for m, own in enumerate(counts)]
    clips = np.array([2, 0, 1, 0, 2, 2, 1])
    found = tile_means(members, clips, generator(7))
    assert found.dtype == np.float32
    draw, tile = draw_tiles(counts.max(axis=0)[clips], generator(7))
    for i, clip in enumerate(clips):
        n = counts[:, clip].max()
        for m, own in enumerate(members):
            rows = [own.first[clip] + int((j + 0.5) * counts[m, clip] / n) for j in tile[draw == i]]
            np.testing.assert_allclose(found[m, i], own.values[rows].mean(axis=0), rtol=1e-5)


def test_one_tile_is_itself():
    one = windows([1] * 5, 0)
    found = tile_means([one, one], np.arange(5), generator(0))
    np.testing.assert_array_equal(found, np.stack([one.values] * 2))
