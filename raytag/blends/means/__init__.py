"""Blends of predictions: geometric mean, arithmetic mean, mean rank.

Each is a sum of scores, one a member, brought back to [0, 1]; the sum alone decides which class ranks where. So one
search serves all three (`raytag.blends.pairs`), for integer weights without any rounding:

==========  =====================================================  =========================================
blend       score of a class                                       what of the prediction is lost
==========  =====================================================  =========================================
geometric   log p, to 2^-36                                        probabilities below 1.2e-38 tie
arithmetic  p, to 2^-43                                            probabilities below 1e-13 (2^-44) tie
rank        average rank among the clip's classes, 1 the lowest    all but the order within the clip
==========  =====================================================  =========================================
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A blend in the table: its class, and what it is for ``--help``."""

    target: str  # module:Class
    about: str


#: Every blend that ``--blend`` can name. A further one is one file here and its line.
BLENDS = {
    "geometric": Row("raytag.blends.means.geometric:Geometric", "geometric mean of probabilities"),
    "arithmetic": Row("raytag.blends.means.arithmetic:Arithmetic", "arithmetic mean of probabilities"),
    "rank": Row("raytag.blends.means.rank:Rank", "mean of ranks within the clip"),
}


def check_blend(blend: str) -> str:
    """The name of a blend, if it is one.

    Raises
    ------
    ValueError
        It is none of `BLENDS`.
    """
    if blend not in BLENDS:
        raise ValueError(f"blend {blend!r} is unknown: choose one of {', '.join(BLENDS)}")
    return blend
