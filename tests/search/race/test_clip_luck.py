"""The closed form against the bootstrap that it stands for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raytag.metrics import lwlrap
from raytag.search.race.clip_luck import clip_variance

CLASSES = ("a", "b", "c", "d", "e")


def made(seed, n=60, noise=0.5, sizes=None, most=3):
    """Predictions of two models for n clips with 1 to ``most`` labels, and the table of clips."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((n, len(CLASSES)), np.float32)
    for row in targets:
        row[rng.choice(len(CLASSES), rng.integers(1, most + 1), replace=False)] = 1
    fnames = [f"{i}.wav" for i in range(n)]
    labels = [",".join(c for c, t in zip(CLASSES, row, strict=True) if t) for row in targets]
    group = [""] * n if sizes is None else [f"g{i}" for i in np.repeat(np.arange(len(sizes)), sizes)]
    clips = pd.DataFrame({"fname": fnames, "labels": labels, "group": group})
    common = rng.normal(0, 0.7, targets.shape)  # what is hard is hard for both
    logits = [targets + common + rng.normal(0, noise, targets.shape) for _ in range(2)]
    scores = [(1 / (1 + np.exp(-z))).astype(np.float32) for z in logits]
    frames = [pd.DataFrame(s, columns=list(CLASSES)).assign(fname=fnames)[["fname", *CLASSES]] for s in scores]
    return *frames, clips, targets


def bootstrap(first, second, targets, members, draws=3000):
    """Half the variance of the difference of two lwlraps over draws of groups with replacement."""
    rng = np.random.default_rng(0)
    a, b = (frame[list(CLASSES)].to_numpy(np.float32) for frame in (first, second))
    found = np.empty(draws)
    for i in range(draws):
        rows = np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))])
        found[i] = lwlrap(targets[rows], a[rows]) - lwlrap(targets[rows], b[rows])
    return found.var() / 2


@pytest.mark.parametrize(("seed", "most"), [(0, 3), (1, 1), (2, 4)])
def test_a_bootstrap_over_clips(seed, most):
    first, second, clips, targets = made(seed, n=120, most=most)
    expected = bootstrap(first, second, targets, [[i] for i in range(120)])
    assert clip_variance(first, second, clips) == pytest.approx(expected, rel=0.1)


def test_a_bootstrap_of_models_that_are_far_apart():
    """What all clips have in common is a difference and no luck."""
    first, second, clips, targets = made(11, n=120, noise=0.05)
    second = second.assign(**{c: 1 - second[c] for c in CLASSES})
    expected = bootstrap(first, second, targets, [[i] for i in range(120)])
    assert clip_variance(first, second, clips) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_bootstrap_over_groups_of_many_sizes(seed):
    sizes = np.random.default_rng(seed).integers(1, 6, 100)
    first, second, clips, targets = made(seed, n=int(sizes.sum()), sizes=sizes)
    members = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    expected = bootstrap(first, second, targets, members)
    assert clip_variance(first, second, clips) == pytest.approx(expected, rel=0.12)


def test_repeated_draws_of_clips_have_this_variance():
    """Not the bootstrap but what it is for: folds of fresh clips, of which each gives one variance."""
    found, differences = [], []
    for seed in range(150):
        first, second, clips, targets = made(seed, n=40)
        found.append(clip_variance(first, second, clips))
        a, b = (frame[list(CLASSES)].to_numpy() for frame in (first, second))
        differences.append(lwlrap(targets, a) - lwlrap(targets, b))
    assert np.mean(found) == pytest.approx(np.var(differences) / 2, rel=0.2)


def test_clips_that_agree_within_their_group_say_less_than_they_number():
    """Four copies of each clip: as many clips again as there are groups, and the variance of the groups alone."""
    first, second, clips, _ = made(3, n=30)
    copies = [pd.concat([frame] * 4, ignore_index=True) for frame in (first, second, clips)]
    names = [f"{i}.wav" for i in range(120)]
    one, two, table = (frame.assign(fname=names) for frame in copies)
    table["group"] = [f"g{i % 30}" for i in range(120)]
    alone = clip_variance(first, second, clips)
    assert clip_variance(one, two, table) == pytest.approx(alone, rel=1e-9)
    apart = clip_variance(one, two, table.assign(group=""))
    assert apart == pytest.approx(alone * (120 / 119) / (30 / 29) / 4, rel=1e-9)


def test_clips_without_a_group_are_groups_of_their_own():
    first, second, clips, _ = made(4)
    named = clips.assign(group=[f"g{i}" for i in range(60)])
    assert clip_variance(first, second, clips) == clip_variance(first, second, named)


def test_models_that_rank_alike_do_not_differ_by_luck():
    first, _, clips, _ = made(5)
    assert clip_variance(first, first, clips) == 0.0
    monotone = first.assign(**{c: first[c] ** 2 for c in CLASSES})
    assert clip_variance(first, monotone, clips) == 0.0


def test_which_of_the_two_comes_first_does_not_matter():
    first, second, clips, _ = made(6)
    assert clip_variance(first, second, clips) == pytest.approx(clip_variance(second, first, clips), rel=1e-12)


def test_the_order_of_rows_and_columns_does_not_matter():
    first, second, clips, _ = made(7)
    expected = clip_variance(first, second, clips)
    rng = np.random.default_rng(0)
    others = [frame.iloc[rng.permutation(60)].reset_index(drop=True) for frame in (first, second, clips)]
    assert clip_variance(*others) == pytest.approx(expected, rel=1e-12)
    columns = ["fname", *CLASSES[::-1]]
    assert clip_variance(first[columns], second, clips) == pytest.approx(expected, rel=1e-12)


def test_clips_of_other_folds_and_without_labels_do_not_count():
    first, second, clips, _ = made(8)
    expected = clip_variance(first, second, clips)
    others = pd.DataFrame({"fname": ["x.wav", "y.wav"], "labels": ["a", ""], "group": ["", ""]})
    table = pd.concat([others, clips], ignore_index=True)
    assert clip_variance(first, second, table) == expected
    silent = pd.DataFrame([["y.wav", *[0.5] * 5]], columns=["fname", *CLASSES])
    one, two = (pd.concat([silent, frame], ignore_index=True) for frame in (first, second))
    assert clip_variance(one, two, table) == expected  # not even in the number of groups


def test_too_little_to_tell():
    first, second, clips, _ = made(9)
    assert clip_variance(first, second, clips.assign(labels="")) is None
    assert clip_variance(first, second, clips.assign(group="all of one site")) is None
    assert clip_variance(first[:1], second[:1], clips) is None
    assert clip_variance(first[:0], second[:0], clips) is None


def test_predictions_of_different_clips_are_refused():
    first, second, clips, _ = made(10)
    with pytest.raises(ValueError, match=r"the second predictions: 1 clips have no prediction, first 0\.wav"):
        clip_variance(first, second[1:], clips)
    with pytest.raises(ValueError, match=r"the second predictions: 1 clips do not belong there, first 0\.wav"):
        clip_variance(first[1:], second, clips)
    with pytest.raises(ValueError, match="60 clips have no prediction"):
        clip_variance(first, second.assign(fname=[f"other{i}" for i in range(60)]), clips)
