"""The rules of a race as they stand in the log."""

from __future__ import annotations

import json
import math

import pytest

from raytag.search.race.rules import RULES
from raytag.search.race.settings import Settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stopping": "hyperband"}, "stopping must be one of none, asha, exact, paired.*, not 'hyperband'"),
        ({"keep": 0}, "keep must be at least 1, not 0"),
        ({"rungs": (0.5, 0.25)}, r"rungs must be ascending shares between 0 and 1, not \(0.5, 0.25\)"),
        ({"rungs": (0.5, 0.5)}, "rungs must be ascending"),
        ({"rungs": (0.0,)}, "between 0 and 1"),
        ({"rungs": (1.0,)}, "between 0 and 1"),
        ({"rungs": (math.nan,)}, "between 0 and 1"),
        ({"eta": 0.5}, "eta must be at least 1, not 0.5"),
        ({"eta": math.nan}, "eta must be at least 1, not nan"),
        ({"z": -0.1}, "z must be finite and not negative, not -0.1"),
        ({"z": math.nan}, "z must be finite and not negative, not nan"),
        ({"z": math.inf}, "z must be finite and not negative, not inf"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


@pytest.mark.parametrize("stopping", RULES)
def test_settings_come_back_from_the_log_as_they_were(stopping):
    for chosen in (
        Settings(stopping),
        Settings(stopping, 7, [0.1, 0.7], 3.3, 0.1 + 0.2),
        Settings(stopping, rungs=()),
    ):
        assert Settings.from_plain(json.loads(json.dumps(chosen.plain()))) == chosen


def test_rungs_are_known_in_every_mode():
    assert Settings("asha").shares == (0.25, 0.5)
    for stopping in ("none", "exact", "paired"):
        assert Settings(stopping).shares == (0.5,)
    assert Settings(rungs=()).shares == ()
