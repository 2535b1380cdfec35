"""What can be known to fail before anything trains: a space held against the data, the folds and the network.

Fields that the data cannot use are fixed at their neutral value (``Space.fit``). Then the base experiment and
each value that the space offers, or each experiment of its list, is asked for its training clips in every fold
and for one small forward pass. What fails here would fail in every trial.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from rich.console import Console

from raytag import parts, plugins
from raytag.batch import Batch, Outputs, Targets
from raytag.console import say
from raytag.datasets.corrections import corrected_rows
from raytag.datasets.table import ClipTable
from raytag.experiment import NOISY_CLIPS, Experiment, Sampling
from raytag.models.tagger import Tagger, tagger
from raytag.search.options import LaunchOptions
from raytag.search.prepare import stages
from raytag.space import Branch, Space, plain
from raytag.space.spaces import is_name
from raytag.train.sources import split
from raytag.train.stages.lineage import models

SAMPLES = 1  # of the forward pass
#: What decides whether an experiment runs at all; other fields take any value that an experiment accepts.
DECISIVE = ("features.", "sampling.", "model.", "loss.", "input.", "front_end.", "init.", "pseudo.")


class PreflightError(ValueError):
    """An experiment that cannot run on the data; the message names it, the reason and the option that mends it."""


class _Fault(Exception):
    """Why an experiment cannot run, and the options that mend it."""

    def __init__(self, reason: object, mend: str) -> None:
        super().__init__(str(reason))
        self.mend = mend


@contextmanager
def _mended_by(mend: str) -> Iterator[None]:
    """Give errors as a `_Fault`; those of a user's own code may be of any kind, and are told with file and line."""
    try:
        yield
    except Exception as error:
        if place := plugins.place(error):
            raise _Fault(
                f"{place}: {type(error).__name__}: {error}", f"a change of that line, or {mend}"
            ) from error
        if not isinstance(error, ValueError | RuntimeError):
            raise
        raise _Fault(error, mend) from None


def prepare(
    options: LaunchOptions, chosen: Space, table: ClipTable, folds: Sequence[int], console: Console
) -> Space:
    """The space as these data can use it; says what is fixed.

    Raises
    ------
    ValueError
        An experiment that cannot run on the data.
    """
    if len(table.classes) == 1:
        raise PreflightError(
            f"The data have one class only, {table.classes[0]!r}: lwlrap ranks the classes of a clip, so it is 1 "
            "whatever is predicted. Mend it with a class of their own for the clips without it, such as other"
        )
    fitted = chosen.fit({NOISY_CLIPS} if len(table.rows("noisy")) else (), options.changes())
    rates = [note for features in fitted.feature_sets for note in low_rate(table, features)]
    for note in dict.fromkeys([*fitted.notes, *rates]):
        say(console, note)
    beginnings = check_space(fitted, table, folds)
    for note in corrected([*fitted.bases, *fitted.earlier], table):
        say(console, note)
    for note in [*stages.notes([*fitted.bases, *fitted.earlier]), *beginnings]:
        say(console, note)
    return fitted


def corrected(experiments: Iterable[Experiment], table: ClipTable) -> list[str]:
    """How many clips corrections files remove and relabel, a sentence each."""
    found = {}
    for experiment in experiments:
        for subset in ("curated", "noisy"):
            file = getattr(experiment.sampling, f"{subset}_corrections")
            if file is not None:
                clips = corrected_rows(table, file, subset)
                words = f"{len(clips.removed)} {subset} clips are removed and {len(clips.relabelled)} relabelled"
                found[file.sha256, subset] = f"Corrections {file}: {words}"
    return list(found.values())


def check_space(chosen: Space, table: ClipTable, folds: Sequence[int]) -> list[str]:
    """Refuse a space with an experiment that cannot run on these clips and folds.

    Returns
    -------
    list of str
        Sentences on the weights that experiments begin with.

    Raises
    ------
    PreflightError
        With the experiment or the value of ``VARY``, the reason, and the option that mends it.
    """
    done: set[str] = set()
    outputs: dict[str, Outputs] = {}
    beginnings: dict[str, str] = {}
    for where, mend, experiment in _cases(chosen):
        try:
            _check_sampling(experiment.sampling, table, folds, done)
            _check_network(experiment, len(table.classes), outputs)
            _check_beginning(experiment, len(table.classes), beginnings)
            _check_inner_models(experiment, folds, table.n_folds)
        except _Fault as fault:
            raise _error(where, fault, mend or fault.mend) from None
    return [words for words in beginnings.values() if words]


def _error(where: str, reason: Exception, mend: str) -> PreflightError:
    text = str(reason)
    return PreflightError(f"{where} cannot run: {text}{'' if text.endswith('?') else '.'} Mend it with {mend}")


def _cases(chosen: Space) -> Iterator[tuple[str, str, Experiment]]:
    """(what it is called, what mends it where that is known, experiment), what comes first before what is drawn."""
    for experiment in chosen.earlier:
        yield f"The earlier experiment {experiment.id} of {chosen.path}", "", experiment
    for experiment in chosen.firsts:
        called = f"Experiment {experiment.id} of {chosen.path}"
        yield f"The base experiment of {chosen.name}" if len(chosen.firsts) == 1 else called, "", experiment
    for branch in chosen.branches:
        yield from _drawn(branch, chosen)


def _drawn(branch: Branch, chosen: Space) -> Iterator[tuple[str, str, Experiment]]:
    """Each value that a branch offers, and each pair of values."""
    base, flat = branch.base, branch.base.flat()
    if base not in chosen.firsts:
        first = chosen.first.flat()
        kind = [f"{key}={flat[key]}" for key in flat if is_name(key) and flat[key] != first.get(key)]
        yield f"What is drawn with {', '.join(kind) or base.id} in {chosen.path}", "", base
    points = {key: branch.values(key)[1:] for key in sorted(branch.vary)}
    for key, values in points.items():
        for value in values:
            where = f"VARY[{key!r}] = {value!r} in {chosen.path}"
            mend = f"--set {key}={plain(flat[key])}, or take the value out of the file"
            experiment = _replaced(base, {key: value}, where, mend)
            if key.startswith(DECISIVE):
                yield where, mend, experiment
    # what two fields allow together: a draw that breaks it would end the search half-way
    for (first_key, some), (second, others) in itertools.combinations(points.items(), 2):
        for a, b in itertools.product(some, others):
            where = f"VARY[{first_key!r}] = {a!r} with VARY[{second!r}] = {b!r} in {chosen.path}"
            mend = f"--set {first_key}={plain(flat[first_key])}, or other values"
            _replaced(base, {first_key: a, second: b}, where, mend)


def _replaced(base: Experiment, changes: dict[str, Any], where: str, mend: str) -> Experiment:
    try:
        return base.replace(changes)
    except ValueError as error:
        raise _error(where, error, mend) from None


def _check_sampling(sampling: Sampling, table: ClipTable, folds: Sequence[int], done: set[str]) -> None:
    """Every fold has clips to train on and to validate, and every source that is drawn from has some."""
    shares = sampling.noisy_prob > 0, sampling.corrected_noisy_prob > 0
    files = {
        f"sampling.{name}": getattr(sampling, name).file
        for name in ("curated_corrections", "noisy_corrections")
        if getattr(sampling, name) is not None
    }
    key = json.dumps([shares, sampling.noisy_share, files])
    if key in done:
        return
    done.add(key)
    for fold in folds:
        try:
            split(table, sampling, fold)
        except ValueError as error:
            raise _Fault(error, _mend_sampling(str(error), files, shares[1])) from None


def _mend_sampling(reason: str, files: dict[str, str], corrected: bool) -> str:
    if "sampling.corrected_noisy_prob is" in reason:
        return "--set sampling.corrected_noisy_prob=0"
    mend = ["--set sampling.noisy_prob=0"] if "sampling.noisy_prob is" in reason else []
    for name in [name for name, path in files.items() if path in reason] or files:
        also = (
            " --set sampling.corrected_noisy_prob=0" if name == "sampling.noisy_corrections" and corrected else ""
        )
        mend.append(f"--set {name}=none{also}")
    return " or ".join(mend) or "--n-folds or --fold-method"


def _check_beginning(experiment: Experiment, num_classes: int, found: dict[str, str]) -> None:
    """The weights that it begins with fit its network."""
    parts_of = experiment.init, experiment.model, experiment.front_end
    key = json.dumps([*(part.model_dump(mode="json") for part in parts_of), experiment.sample_shape])
    if key not in found:
        try:
            found[key] = stages.beginning(experiment, num_classes)
        except (ValueError, OSError) as error:
            raise _Fault(error, "--set init.name=Fresh, or other weights") from None


def _check_inner_models(experiment: Experiment, folds: Sequence[int], n_folds: int) -> None:
    """What leaves out a fold for each stage that asks for cross-fitted predictions has folds left to train on."""
    for earlier, cell in models([experiment], folds, n_folds):
        if len(cell.left_out) >= n_folds:
            raise _Fault(
                f"pseudo.reader=cross_fit asks for {earlier.id} {cell}, which leaves no fold to train on",
                f"--n-folds {len(cell.left_out) + 1} or more, or --set pseudo.reader=same_fold",
            )


def _check_network(experiment: Experiment, n_classes: int, outputs: dict[str, Outputs]) -> None:
    """Features, network and loss can be built, and fit each other."""
    # numbers between 0 and 1, such as dropout, change no shape: one forward pass serves all of them
    built = [experiment.model, experiment.front_end]
    shapes = [{k: v for k, v in part.model_dump().items() if not isinstance(v, float)} for part in built]
    sample = experiment.input.shape(experiment.features), experiment.input.pads
    key = json.dumps([shapes, sample, experiment.features.sample_rate])
    with _mended_by("--set features.FIELD=VALUE"):
        experiment.features.check()
    if key not in outputs:
        outputs[key] = _forward(experiment, n_classes)
    weights = ",".join(["1", "0.4", "0.2", *["0.1"] * n_classes][: 1 + len(outputs[key].aux)])
    own = "aux_weights" in type(experiment.loss).model_fields
    with _mended_by(f"--set loss.{f'aux_weights=[{weights}]' if own else 'FIELD=VALUE'}"), torch.no_grad():
        nothing = torch.zeros(SAMPLES, n_classes)
        loss = experiment.loss.build(n_classes)
        loss(outputs[key], Targets(nothing, torch.zeros(SAMPLES, dtype=torch.bool)))


def _forward(experiment: Experiment, n_classes: int) -> Outputs:
    """What an untrained network makes of silence."""
    shape = experiment.input.shape(experiment.features)
    *_, bands, frames = (0, *experiment.sample_shape)
    seen = f"images of {bands} bands x {frames} frames" if bands else f"waveforms of {frames} samples"
    with _mended_by("--set model.FIELD=VALUE"):
        model = tagger(experiment, n_classes)
    hears = experiment.front_end.takes_lengths or not isinstance(model, Tagger)
    if experiment.input.pads and not (hears and experiment.model.takes_lengths):
        raise _Fault(
            f"input.name={experiment.input.name} pads clips to the longest of their batch, and model.name="
            f"{experiment.model.name} with front_end.name={experiment.front_end.name} does not take lengths",
            "others that do, --set model.name=TwoDimensionalCNN --set front_end.name=MagnitudeMel, or another "
            "input: --set input.name=WaveformCrops",
        )
    mend = " or ".join(f"--set {key}=VALUE" for key in experiment.input.sizes + experiment.front_end.sizes)
    mend = mend or "--set input.FIELD=VALUE"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for one sample; more would wait for each other where others train
    try:
        with _mended_by(mend), torch.no_grad():
            lengths = torch.full((SAMPLES,), shape[-1]) if experiment.input.pads else None
            found = Batch(torch.zeros(SAMPLES, *shape), lengths=lengths).through(model.eval())
    finally:
        torch.set_num_threads(threads)
    if not isinstance(found, Outputs):
        raise _Fault(
            f"its network returns {type(found).__name__}, not raytag.batch.Outputs",
            "return Outputs(clip=logits) in its forward",
        )
    for logits in (found.clip, *found.aux):
        if logits.shape != (SAMPLES, n_classes) or not logits.isfinite().all():
            raise _Fault(
                f"for {seen} the network gives {tuple(logits.shape)}, not finite logits ({SAMPLES}, {n_classes})",
                f"{mend}, or another network: --set model.name=NAME",
            )
    return found


def low_rate(table: ClipTable, features: parts.Features) -> list[str]:
    """A sentence where the upper bands of most recordings are empty: their sample rate is far below the features'.

    The settings that it names keep what a frame is.
    """
    rates = table.clips["rate"][table.clips["rate"] > 0]
    rate = int(np.median(rates)) if len(rates) else 0
    if not 0 < rate <= features.highest:  # at least the upper half of the Hz is empty
        return []
    settings = features.at_rate(rate)
    return [
        f"Most recordings have at most {rate} Hz: bands above {rate / 2:g} Hz are empty. To use all of them: "
        + " ".join(f"--set features.{name}={value:g}" for name, value in settings.items())
    ]
