"""The options of an ensemble search, which are those of ``ensemble_search.py``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from raytag.blends.means import BLENDS
from raytag.console import parse_duration
from raytag.ensemble.choose.ways import RULES, WAYS
from raytag.ensemble.stackers.grid import SOURCES
from raytag.families import choice_of

DEFAULT_SIZES = "1-7"

if TYPE_CHECKING:
    Blend = str
    WayName = str
    Source = str
else:
    Blend = choice_of(BLENDS, "how members are blended. ")
    _WAY = "which way of choosing to keep, or the rule that decides; all are scored either way. "
    WayName = choice_of({**RULES, **WAYS}, _WAY)
    Source = choice_of(SOURCES, "where second-level networks come from. ")


@dataclass(frozen=True)
class EnsembleOptions:
    """Search the subsets of a run's complete experiments for the best blend, weigh them, train stackers on them,
    keep the simplest of what cannot be told from the highest nested score, and write the submission. Every score
    comes with its optimism, its interval and a plain verdict.

    Example: python ensemble_search.py --run specaug_mixup-recordings --size 1-5

    With others' models: python ensemble_search.py --run mine --run yours --predictions theirs.csv --budget 1h
    """

    run: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """name of a run; by default the newest. Repeat it to search several runs of the same data together; the
    ensemble is written to the first"""
    predictions: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """CSV or Parquet file of another model's out-of-fold predictions on the run's folds: fname and one column a
    class, test clips in the same file if there are any. Repeat it for more models"""
    runs_dir: str = "runs"
    """folder or URI (s3://bucket/runs) of runs"""
    blend: Blend = "geometric"
    way: WayName = "auto"
    size: Annotated[str, tyro.conf.arg(metavar="K|A-B")] = DEFAULT_SIZES
    """numbers of members to try: 5, or 1-7"""
    budget: Annotated[str, tyro.conf.arg(metavar="TIME")] = "10m"
    """what trying every subset may take, as predicted (90s, 10m, 2h); sizes that do not fit are searched by
    exchanging members, and the report says so"""
    top: Annotated[int, tyro.conf.arg(metavar="N")] = 100
    """how many of the best subsets subsets.parquet keeps"""
    stackers: Annotated[int, tyro.conf.arg(metavar="N")] = 4
    """how many second-level networks are trained, of which the best three are kept and which linear models join; 0
    for no second level"""
    stackers_from: Source = "raytag"
    stacker_draws: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """clips that networks draw an epoch; by default 32768 of the published ones, which takes a CPU long, and each
    clip once of raytag's"""
    faithful: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """train a fold's networks on all other folds, stop and choose them on this very fold, as argus-freesound did:
    their scores flatter, the nested ones too. Needs --way mlp or subset+mlp"""
    leaky: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """also experiments that are marked leaky: models that saw a fold's labels helped to train what is scored on it,
    so every score that counts them flatters"""
    name: str | None = None
    """name of the ensemble, a folder under RUN/ensembles; by default ensemble-001, -002, …"""
    address: str | None = None
    """a running Ray cluster (auto, HOST:PORT or ray://…); by default Ray starts on this machine"""
    seed: int = 0
    """of the stackers, of the search by exchange and of the bootstrap"""

    def sizes(self, n_models: int) -> tuple[int, ...]:
        """The sizes to search; a range ends at the number of experiments.

        Raises
        ------
        ValueError
            Not K or A-B, or more members than there are experiments.
        """
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", self.size)
        if match is None:
            raise ValueError(f"--size {self.size}: write a number or a range, e.g. 5 or 1-7")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if not 1 <= first <= last:
            raise ValueError(f"--size {self.size}: sizes start at 1 and do not fall")
        if first > n_models:
            raise ValueError(f"--size {self.size}: the run has only {n_models} complete experiments")
        return tuple(range(first, min(last, n_models) + 1))

    def check(self) -> None:
        """Refuse values that make no sense, naming the option."""
        parse_duration("--budget", self.budget)
        if self.top < 1:
            raise ValueError(f"--top {self.top}: must be at least 1")
        if self.stackers < 0:
            raise ValueError(f"--stackers {self.stackers}: must be at least 0")
        if self.stacker_draws is not None and self.stacker_draws < 1:
            raise ValueError(f"--stacker-draws {self.stacker_draws}: must be at least 1")
        if self.faithful and (self.way in RULES or WAYS[self.way].stackers != "mlp"):
            raise ValueError(
                f"--faithful --way {self.way}: scores of faithful networks flatter, so nothing can be chosen by "
                "them; say which way to keep: --way subset+mlp, or --way mlp"
            )
        if self.seed < 0:
            raise ValueError(f"--seed {self.seed}: must be at least 0")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ValueError(f"--name {self.name}: use letters, digits, '_', '.' and '-'")
