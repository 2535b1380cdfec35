"""Random streams: the same for the same names, another for every other name."""

from __future__ import annotations

import itertools

from raytag.seeding import generator, torch_seed

#: (seed, fold, epoch, step); many of them are permutations of each other, or have the same sum.
NAMES = list(itertools.product(range(3), range(3), range(4), range(6)))


def test_no_two_steps_of_any_training_share_a_stream():
    """argus-freesound seeds a sample with the clock plus its number: two whose sums coincide are drawn alike."""
    drawn = {generator(*name, stream).integers(2**63) for name in NAMES for stream in (0, 1)}
    assert len(drawn) == 2 * len(NAMES)
    assert len({torch_seed(*name) for name in NAMES}) == len(NAMES)


def test_a_stream_is_the_same_at_any_time_and_on_every_machine():
    """argus-freesound seeds its draws with the clock, and torch with nothing."""
    assert generator(5, 1, 30, 7, 0).integers(2**32) == 1_797_211_369
    assert torch_seed(5, 1, 30, 7) == 4_972_413_587_686_326_088
