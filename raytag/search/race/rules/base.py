"""What a stopping rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from raytag.search.race.state import Decision, Entry, State


class Rule(ABC):
    """Judges experiments where they stand, as a function of the facts.

    Its module is read for ``--help``: what takes long to import (numpy is enough) is imported where it is needed.
    `raytag.testing.rules.check_rule` holds a rule to what the race relies on.

    Attributes
    ----------
    name : str
        As ``--stopping`` and the event log call it.
    about : str
        What it stops, for ``--help``; it goes on after ``NAME:``.
    rungs : tuple of float
        Shares of a trial's epochs at which the first fold is judged, ascending, each in (0, 1). Values there are
        recorded in every mode, so a rule that judges at none keeps those that a later launch may judge by.
    needs_clip_variance : bool
        Whether finished first folds come with the variance that resampling their clips gives (`State.priors`).
    can_stop : bool
        False: nothing is ever stopped, and no fold waits for a judgement.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    rungs: ClassVar[tuple[float, ...]] = (0.5,)
    needs_clip_variance: ClassVar[bool] = False
    can_stop: ClassVar[bool] = True

    @abstractmethod
    def failing(self, state: State, entry: Entry) -> Decision | None:
        """Why an experiment does not pass where it stands now; None if it passes, as ties do.

        Who may go is the race's business: never one with all folds, and never so many that fewer than ``keep``
        are left.

        Parameters
        ----------
        state : State
            To be left as it is.
        entry : Entry
            Of an experiment that lacks folds. One that was dropped is judged again when the rules change.

        Returns
        -------
        dict or None
            ``fold`` and ``rung`` where it was judged (int or None), its ``value``, the ``bar`` above it and the
            ``margin`` that was allowed (finite floats: bar - value > margin >= 0), and the ``reason``, a
            sentence with these numbers.
        """
