"""Stopping rules: one a file. A new one is one file here, with its import and its line in `RULES`.

Imports of raytag `raytag.search.race.state`.
"""

from __future__ import annotations

from raytag.search.race.rules.base import Rule
from raytag.search.race.rules.exact import Exact
from raytag.search.race.rules.none import Nothing
from raytag.search.race.rules.paired import Paired
from raytag.search.race.rules.rungs import Rungs

#: Every rule that ``--stopping`` can name.
RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Nothing(),
        Rungs(),
        Exact(),
        Paired(),
    )
}

__all__ = ["RULES", "Rule"]
