"""The options of a launch, which are those of ``launch.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from raytag.console import parse_duration
from raytag.datasets import recordings
from raytag.datasets.readers import layouts
from raytag.errors import redacted
from raytag.experiment import FAMILIES
from raytag.families import choice_of
from raytag.search.race.rules import RULES
from raytag.search.searchers import SEARCHERS
from raytag.store.files import Storage, check_name

_DATA = f"""folder of labelled recordings; without it the built-in demo data are used. It is recognised when it
holds
{layouts()}"""
_LONGEST = f"""leave out recordings whose header announces more seconds than this, before anything is allocated.
Always left out are those of more than {recordings.MAX_CHANNELS:,} channels, {recordings.MAX_RATE:,} Hz,
{recordings.MAX_SAMPLES:,} samples (of all channels, or once resampled) or {recordings.MAX_BYTES:,} bytes"""
_SET = """set any field of every experiment, e.g. --set model.base_size=16; may be repeated. Another name of a part
takes its own fields: --set loss.name=OnlyNoisyLq --set loss.q=0.3. Copies of the recordings, shifted by semitones,
stretched or sped up, are trained on too with --set features.variants=pitch:+2,stretch:0.9,speed:1.1. Names are
those of the space's plugins, and
""" + "\n".join(f"  - {what}.name: {', '.join(family.table)}" for what, family in FAMILIES.items())

if TYPE_CHECKING:
    from raytag.space import Space

    Search = str
    Stopping = str
else:
    Search = choice_of(SEARCHERS, "how experiments are drawn; the space's base experiment is always the first. ")
    Stopping = choice_of(RULES)


@dataclass(frozen=True)
class LaunchOptions:
    """Train the experiments of a search space on every fold, stop hopeless ones early, keep every
    out-of-fold prediction. The same command continues a run that was interrupted or killed.

    Example: python launch.py --space specaug_mixup --data recordings --num-samples 12
    """

    space: str = "specaug_mixup"
    """search space: NAME of a file in search_spaces/, or the path FILE.py; fields that the data cannot use, such as
    sampling.noisy_prob without noisy clips, are fixed"""
    data: Annotated[Path | None, tyro.conf.arg(help=_DATA)] = None
    run: str | None = None
    """name of the run, a folder under --runs-dir; by default SPACE-DATA"""
    runs_dir: str = "runs"
    """folder or URI (s3://bucket/runs) of runs"""
    cache_dir: str | None = None
    """folder or URI of the feature cache; by default cache/ beside --runs-dir"""
    num_samples: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """experiments to draw in all, by default 8, or all that a space lists; a larger number later adds to the run"""
    time_budget: Annotated[str | None, tyro.conf.arg(metavar="TIME")] = None
    """e.g. 2h, 45m, 1h30m: draw experiments as long as those that are still in can finish all their folds in this
    time; nothing is cut off. Without --num-samples as many as fit"""
    search: Search = "random"
    n_folds: int | None = None
    """number of folds when the data bring none (5 by default)"""
    fold_method: Literal["auto", "given", "group", "stratified", "kfold"] = "auto"
    """auto: given folds, else by group, else multi-label stratified; kfold: plain shuffled KFold, seed 42"""
    channel: Literal["mix", "loudest", "first"] | None = None
    """what is heard of recordings with several channels: their mean (mix; where channels cancel, the loudest), the
    loudest or the first (short for --set features.channel=…)"""
    labels_separator: str | None = None
    """what stands between the labels of a clip: comma, semicolon, tab, bar, blank or none; by default recognised"""
    only_folds: str = ""
    """train only these folds, in this order, e.g. 0,2 (experiments stay incomplete until all are trained)"""
    fold_order: str = "auto"
    """order of the folds, the same for all experiments, e.g. 2,0,1,3; auto: a typical fold first, as a ridge
    baseline on mean features finds them; later launches keep the run's order"""
    epochs: int | None = None
    """epoch budget of every experiment (short for --set training.epochs=N)"""
    stopping: Stopping = "paired"
    keep: int = 3
    """size of the portfolio: at least so many experiments always complete all folds"""
    gpus_per_trial: float | None = None
    """GPUs a trial takes, fractions allowed; by default 0.5 where the cluster has GPUs, else 0"""
    cpus_per_trial: float = 1.0
    """CPU cores a trial takes, fractions allowed; torch uses as many threads"""
    address: str | None = None
    """a running Ray cluster (auto, HOST:PORT or ray://…); by default Ray starts on this machine"""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(help=_SET)] = field(default=())
    seed: int = 0
    """of the search, the folds and the training"""
    checkpoint_seconds: float = 60.0
    """least seconds between two checkpoints of a trial; the first is written after its first epoch"""
    when_full: Literal["wait", "stop"] = "wait"
    """when the disk of --runs-dir is full: wait until somebody makes room, looking every few seconds, or stop; all
    that is finished and the last checkpoints are kept either way"""
    max_bad_share: float = 0.05
    """give up when more than this share of the curated or of the noisy clips is unusable (they are listed with
    their reasons); unusable test clips stop nothing"""
    max_clip_seconds: Annotated[float, tyro.conf.arg(help=_LONGEST)] = recordings.MAX_SECONDS
    leaky: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """give experiments that are marked leaky a rank in the leaderboard: models that saw a fold's labels helped to
    train what is scored on it"""
    verify: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """read every recording again instead of trusting sizes and times; changed ones are computed anew"""
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """import plugins that lie in the run's folder, or in that of a parent's run, though no file of that content is
    named in the space: the code of whoever made it, with all your rights; look at runs/RUN/plugins first"""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """print the trials and the predicted time, then stop"""
    timings: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """print how long each part of the start took"""
    dashboard: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """start Ray's dashboard, where workers and their logs can be watched, and say where it is and how to get in"""

    def folds(self, n_folds: int) -> list[int]:
        """The folds to run, in the order given by --only-folds or --fold-order; else all of them by number.

        Raises
        ------
        ValueError
            Not a number, not a fold of the dataset, named twice, or --fold-order leaves one out.
        """
        if self.only_folds and self.fold_order != "auto":
            raise ValueError("--only-folds says which folds and in which order: leave out --fold-order")
        if self.only_folds:
            return _fold_numbers("--only-folds", self.only_folds, n_folds)
        if self.fold_order == "auto":
            return list(range(n_folds))
        order = _fold_numbers("--fold-order", self.fold_order, n_folds)
        left_out = sorted(set(range(n_folds)) - set(order))
        if left_out:
            raise ValueError(
                f"--fold-order {self.fold_order} leaves out fold {left_out[0]}: name all {n_folds} folds, or use "
                "--only-folds"
            )
        return order

    @property
    def orders_folds(self) -> bool:
        """Whether the order of the folds is left to raytag."""
        return not self.only_folds and self.fold_order == "auto"

    @property
    def cache(self) -> str:
        """Folder or URI of the feature cache."""
        return Storage(self.cache_dir).uri if self.cache_dir else Storage(self.runs_dir).beside("cache").uri

    def number(self, chosen: Space) -> int | None:
        """Experiments to draw in all; None: as many as the time budget allows."""
        if self.num_samples is not None or self.time_budget is not None:
            return self.num_samples
        listed = len(chosen.firsts)
        return max(8, listed) if chosen.branches else listed

    def changes(self) -> dict[str, Any]:
        """Fields fixed for every experiment: by --seed, --epochs, --channel, and --set, which wins."""
        fixed: dict[str, Any] = {"training.seed": self.seed}
        if self.epochs is not None:
            fixed["training.epochs"] = self.epochs
        if self.channel is not None:
            fixed["features.channel"] = self.channel
        for item in self.set:
            key, equals, value = item.partition("=")
            if not equals:
                raise ValueError(f"--set {item}: write it as part.field=value, e.g. --set model.base_size=16")
            fixed[key.strip()] = value.strip()
        return fixed

    def check(self) -> None:
        """Refuse numbers that make no sense, naming the option."""
        if self.run is not None:
            check_name("--run", self.run)
        for name in ("num_samples", "keep", "epochs", "n_folds"):
            value = getattr(self, name)
            if value is not None and value < (2 if name == "n_folds" else 1):
                raise ValueError(
                    f"--{name.replace('_', '-')} {value}: must be at least {2 if name == 'n_folds' else 1}"
                )
        if self.time_budget is not None:
            parse_duration("--time-budget", self.time_budget)
        if self.cpus_per_trial <= 0:
            raise ValueError(f"--cpus-per-trial {self.cpus_per_trial:g}: must be above 0, e.g. 0.5")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"--max-bad-share {self.max_bad_share:g}: must lie between 0 and 1")
        if not self.max_clip_seconds > 0:
            raise ValueError(f"--max-clip-seconds {self.max_clip_seconds:g}: must be above 0")
        gpus = self.gpus_per_trial
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ValueError(f"--gpus-per-trial {gpus:g}: a fraction up to 1, or a whole number")

    def plain(self) -> dict[str, Any]:
        """The options as JSON values, for the event log: without secrets."""
        return {k: v if isinstance(v, int | float | None) else redacted(str(v)) for k, v in vars(self).items()}


def _fold_numbers(option: str, text: str, n_folds: int) -> list[int]:
    try:
        folds = [int(k) for k in text.split(",") if k.strip()]
    except ValueError:
        raise ValueError(f"{option} {text}: write fold numbers separated by commas, e.g. 0,2") from None
    wrong = [k for k in folds if not 0 <= k < n_folds]
    if wrong:
        raise ValueError(f"{option} {wrong[0]}: the dataset has the folds 0 to {n_folds - 1}")
    if len(set(folds)) != len(folds):
        raise ValueError(f"{option} {text}: a fold is named twice")
    return folds
