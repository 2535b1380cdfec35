"""The rules of a race as they stand in its ``race`` events."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from raytag.search.race.rules import RULES, Rule


@dataclass(frozen=True)
class Settings:
    """The rules of a race.

    Parameters
    ----------
    stopping : str
        A name in `RULES`.
    keep : int
        Size of the portfolio: at least so many experiments complete all folds.
    rungs : sequence of float or None
        Shares of a trial's epoch budget at which the first fold is judged, ascending, each in (0, 1); by default
        the rule's own.
    eta : float
        1/eta of the trials pass a rung; 1 lets all pass.
    z : float
        How many standard errors below the bar an experiment may lie.

    Raises
    ------
    ValueError
        A value out of range; the message names it.
    """

    stopping: str = "paired"
    keep: int = 3
    rungs: tuple[float, ...] | None = None
    eta: float = 2.0
    z: float = 0.5

    def __post_init__(self) -> None:
        if self.stopping not in RULES:
            raise ValueError(f"stopping must be one of {', '.join(RULES)}, not {self.stopping!r}")
        given = self.rule.rungs if self.rungs is None else self.rungs
        object.__setattr__(self, "rungs", tuple(given))  # a list would not equal what the log gives back
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1, not {self.keep}")
        if list(self.shares) != sorted(set(self.shares)) or not all(0 < r < 1 for r in self.shares):
            raise ValueError(f"rungs must be ascending shares between 0 and 1, not {self.rungs}")
        if not self.eta >= 1:  # NaN too
            raise ValueError(f"eta must be at least 1, not {self.eta:g}")
        if not 0 <= self.z < math.inf:
            raise ValueError(f"z must be finite and not negative, not {self.z:g}")

    @property
    def rule(self) -> Rule:
        return RULES[self.stopping]

    @property
    def shares(self) -> tuple[float, ...]:
        """The rungs, never None."""
        return self.rungs or ()

    def plain(self) -> dict[str, Any]:
        """As JSON values, for the event log."""
        return {**asdict(self), "rungs": list(self.shares)}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Settings:
        return cls(**{**values, "rungs": tuple(values["rungs"])})
