"""A time budget: when a launch stops proposing experiments, so that those that are in finish in time.

Nothing that runs is ever cut off; a launch keeps to its time only by not starting what would not fit. It
assumes that every experiment that is in will train all its folds. Racing drops some, so the assumption is
pessimistic: when it does, room appears, and proposing may begin again after it had stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from raytag.console import duration

FEW_EPOCHS = 3  # seen in this launch before they count more than the prior


class Budget:
    """The time of one launch, and whether one more experiment fits into it.

    Its clock starts when it is made. All work is counted in epochs, and an epoch is taken to cost the mean of
    those seen in this launch, whatever its experiment. Where experiments differ in cost, the deadline is missed
    by as much as that mean is too low for the work that is in.

    Parameters
    ----------
    seconds : float
        The budget, above 0.
    slots : callable
        How many trials run at a time now; a cluster may grow. Less than 1 counts as 1.
    prior : float, optional
        Expected seconds of one epoch of training on one worker; counts until `FEW_EPOCHS` were seen. Without
        it nothing beyond a first experiment is allowed before the first epoch is done.
    now : callable
        A clock, seconds.

    Raises
    ------
    ValueError
        ``seconds`` or ``prior`` not above 0, or not finite.
    """

    def __init__(
        self,
        seconds: float,
        slots: Callable[[], int],
        prior: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"--time-budget of {seconds:g} seconds: must be above 0 and finite, e.g. 45m")
        if prior is not None and not 0 < prior < math.inf:
            raise ValueError(f"the expected seconds of an epoch must be above 0 and finite, not {prior:g}")
        self.seconds, self.prior = seconds, prior
        self._slots, self._now = slots, now
        self._started = now()
        self._seen_seconds = self._seen_epochs = 0.0

    def elapsed(self) -> float:
        """Seconds since the launch began."""
        return self._now() - self._started

    def left(self) -> float:
        """Seconds to the deadline; negative after it."""
        return self.seconds - self.elapsed()

    @property
    def workers(self) -> int:
        """How many trials run at a time, at least 1."""
        return max(1, self._slots())

    @property
    def seconds_per_epoch(self) -> float | None:
        """Total seconds over total epochs of this launch, the prior while they are few; None when unknown.

        The first epochs compile and fill caches: in a ratio of totals they weigh less and less.
        """
        if self._seen_epochs >= FEW_EPOCHS or (self.prior is None and self._seen_epochs > 0):
            return self._seen_seconds / self._seen_epochs
        return self.prior

    def observe(self, seconds: float, epochs: float) -> None:
        """So many epochs were trained in this launch, and a worker was busy with them for so many seconds.

        Parameters
        ----------
        seconds : float
            Validation included; neither waiting nor earlier launches. What a trial takes after its last epoch
            (its predictions) is observed with 0 epochs, and so spread over all epochs.
        epochs : float
            At least 0.

        Raises
        ------
        ValueError
            A negative or non-finite number.
        """
        if not (0 <= seconds < math.inf and 0 <= epochs < math.inf):
            raise ValueError(f"cannot observe {epochs:g} epochs in {seconds:g} seconds: both must be 0 or more")
        self._seen_seconds += seconds
        self._seen_epochs += epochs

    def allows(self, open_epochs: float, new_epochs: float, longest_trial: float) -> bool:
        """Whether everything would be finished by the deadline if one more experiment were proposed now.

        Parameters
        ----------
        open_epochs : float
            Epochs that all experiments still in would train to complete all their folds.
        new_epochs : float
            Epochs of the experiment to propose, all its folds.
        longest_trial : float
            Epochs of the longest stretch of open or new work that must run one after another: of one trial
            where all may run at once; of all folds of one experiment where each fold waits for the one before.

        Returns
        -------
        bool
            After a refusal it may turn true again: when experiments are dropped, epochs get cheaper or workers
            are added. As long as nothing is open and this launch has trained nothing, it is true whatever the
            time, for a launch that trains nothing is of no use; see `fits` for the warning.

        Notes
        -----
        With at most m trials at a time and no worker idle while a trial waits, work W ends after at most

            W / m + (1 - 1 / m) L

        where L is the longest chain of trials that wait for one another: while a worker is idle, a trial of
        such a chain runs. [1]_ The bound holds for any order of the trials.

        References
        ----------
        .. [1] Graham: Bounds on multiprocessing timing anomalies. SIAM Journal on Applied Mathematics 17(2),
           416-429, 1969.
        """
        if open_epochs <= 0 and self._seen_epochs == 0:
            return True
        bound = self._bound(open_epochs + new_epochs, longest_trial)
        return bound is not None and bound <= self.left()

    def fits(self, new_epochs: float, longest_trial: float) -> bool | None:
        """Whether one experiment alone would be finished by the deadline; None when that is not known yet."""
        bound = self._bound(new_epochs, longest_trial)
        return None if bound is None else bound <= self.left()

    def explain(self, epochs_of_one: float, folds: int, keep: int, longest_trial: float | None = None) -> str:
        """What the budget means, for the start of a launch: two plain sentences in one line.

        Parameters
        ----------
        epochs_of_one : float
            Epochs of an experiment on one fold (``training.epochs``).
        folds : int
            Folds that each experiment trains.
        keep : int
            How many experiments complete at least (``--keep``).
        longest_trial : float, optional
            As in `allows`; by default ``epochs_of_one``: the folds of an experiment may run at once.
        """
        left, work = duration(max(0.0, self.left())), epochs_of_one * folds
        promise = "A new one is proposed only while all that are in can still finish in time"
        longest = epochs_of_one if longest_trial is None else longest_trial
        alone, per_epoch = self._bound(work, longest), self.seconds_per_epoch
        if not alone or not per_epoch:
            return (
                f"How many experiments {left} holds is known after the first epochs. {promise}; what is running is "
                "never cut off."
            )
        workers = _count(self.workers, "worker")
        takes = (
            f"One complete experiment ({_count(folds, 'fold')} of {_count(epochs_of_one, 'epoch')}) takes about "
            f"{duration(work * per_epoch)} of work here"
        )
        if not self.fits(work, longest):
            return (
                f"{takes}, which {workers} may not finish in {left}. One is trained all the same, and what is "
                "running is never cut off; give more time (--time-budget) or fewer epochs (--epochs)."
            )
        holds = 1 + math.floor((self.left() - alone) * self.workers / (work * per_epoch) + 1e-9)
        note = f"fewer than --keep {keep}" if holds < keep else "more when weak ones are dropped"
        return (
            f"{takes}; {left} on {workers} holds about {holds}, {note}. {promise}, so none in the last "
            f"{duration(alone)}; what is running is never cut off."
        )

    def _bound(self, epochs: float, longest: float) -> float | None:
        """Graham's bound on the seconds from now in which so many epochs are trained; None when unknown."""
        if self.seconds_per_epoch is None:
            return None
        workers = self.workers
        return self.seconds_per_epoch * (epochs / workers + (1 - 1 / workers) * longest)


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}" + ("" if number == 1 else "s")
