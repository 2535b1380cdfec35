"""Blocks of files; `tests.raytag_cli.test_predict` has them predicted."""

from __future__ import annotations

import pytest

from raytag.ensemble.spread import blocks_of


@pytest.mark.parametrize(
    ("sizes", "number", "expected"),
    [
        ([1] * 8, 4, [2, 2, 2, 2]),
        ([1, 1, 1, 100, 1, 1], 4, [3, 1, 2]),  # the long one alone
        ([100, 1, 100], 8, [1, 1, 1]),
        ([5], 8, [1]),
        ([0, 0, 0], 8, [3]),  # what cannot be read is told by whoever gets it
    ],
)
def test_blocks_are_runs_of_equal_size_and_long_files_stand_alone(sizes, number, expected):
    blocks = blocks_of(sizes, number)
    assert [block.stop - block.start for block in blocks] == expected
    assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(len(sizes)))
