"""Stages before anything trains: do weights fit the networks that begin with them, and what to know of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from raytag.datasets.findings import some
from raytag.experiment import Experiment, Init, OutsideFile
from raytag.models.tagger import tagger
from raytag.train.stages.reading import network_of, of_network

if TYPE_CHECKING:
    from torch import Tensor


class _Untrained:
    """Stands for what a training will read: the shapes of its parent's weights, and its file."""

    def __init__(self, experiment: Experiment, num_classes: int) -> None:
        self.parent, self.num_classes = experiment.init.earlier, num_classes

    def weights(self) -> tuple[str, Mapping[str, Tensor]]:
        return self.parent.id, of_network(self.parent, tagger(self.parent, self.num_classes).state_dict())

    def file(self, file: OutsideFile) -> bytes:
        with open(file.file, "rb") as stream:
            return stream.read()


def beginning(experiment: Experiment, num_classes: int) -> str:
    """A sentence on weights that an experiment begins with, where it does not take or use all of them; else "".

    Raises
    ------
    ValueError
        They do not fit its network; the message says which, and what to do.
    """
    if experiment.init == Init():
        return ""
    network = network_of(tagger(experiment, num_classes))
    try:
        done = experiment.init.begin(network, _Untrained(experiment, num_classes))
    except FileNotFoundError:  # of a parent whose run has it; else the run says so when it is stored
        return ""
    words = [
        f"{what}: {some(done[key], 'weight', 'weights')}"
        for key, what in (("fresh", "drawn afresh"), ("unused", "not used"))
        if done.get(key)
    ]
    if not words:
        return ""
    return f"{experiment.id} begins with {done['taken']} weights of {done['from']}; {'; '.join(words)}"


def notes(experiments: Iterable[Experiment]) -> Iterator[str]:
    """What a user should know of the stages of a space, a sentence each."""
    by_id = {stage.id: stage for e in experiments for stage in (*e.ancestors, e)}
    stages = sorted({e.stage for e in by_id.values()})
    if len(stages) > 1:
        words = "; ".join(
            f"stage {k}: {some([e.id for e in by_id.values() if e.stage == k], 'experiment', 'experiments')}"
            for k in stages[:-1]
        )
        yield (
            f"{len(stages)} stages ({words}). On each fold an experiment starts when what it learns from is "
            "trained; stages race by themselves, and the cost of an experiment includes what it learns from"
        )
    watching = {parent.id for e in by_id.values() for parent in e.parents if parent.watches}
    if watching:
        yield (
            f"The epoch or the rate of {some(sorted(watching), 'earlier experiment', 'earlier experiments')} is "
            "chosen by the score on the very fold that the later stage is scored on, which flatters it a little; "
            "training.keep_epoch=last, training.early_stopping=none and schedule.name=OneCycle in it avoid that"
        )
    files = {str(v) for e in by_id.values() for v in e.init.fields().values() if isinstance(v, OutsideFile)}
    for file in sorted(files):
        yield f"Weights of {file} come from outside: where they have seen clips of these data, scores flatter"
    if leaky := sorted(e.id for e in by_id.values() if e.leaky):
        yield (
            f"{some(leaky, 'leaky experiment', 'leaky experiments')}: models that were trained on a fold's labels "
            "help to make what its own model learns. They have no rank and join no ensemble, but with --leaky"
        )
