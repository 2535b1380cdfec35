"""Parts of an experiment, and what a part of each family can do.

A part is a frozen group of fields. Where there are several ways to do its job (networks, losses, optimizers,
schedules, inputs), each way is a class of its own that declares its own fields beside the code that they configure,
and the part is one of them: ``name`` chooses the class, ``--set model.name=X`` takes X's defaults for what is not
said (`raytag.families`).

A part's module is imported where an experiment is read, so it should import quickly: what needs torch imports it
inside `Network.build` and the like. A member that does not costs its users two seconds, no more.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from raytag.batch import Feed, Outputs, Targets


@dataclass(frozen=True)
class Needs:
    """Marks a field that only some data can use: what they must have, and the value that does without it."""

    what: str
    neutral: Any


class Part(BaseModel):
    """A frozen group of fields; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    def fields(self) -> dict[str, Any]:
        """The fields by name, as they are."""
        return {field: getattr(self, field) for field in type(self).model_fields}

    def chosen(self) -> dict[str, Any]:
        """The fields that differ from their declared defaults, as JSON values: what identity is made of."""
        plain = self.model_dump(mode="json")
        declared = type(self).model_fields
        return {
            field: plain[field]
            for field, value in self.fields().items()
            if declared[field].is_required() or value != declared[field].get_default(call_default_factory=True)
        }


class Member(Part):
    """A part that is chosen from a family; its class is called what the table calls it.

    Attributes
    ----------
    worth_varying : mapping of str to Distribution
        Fields, and the ranges in which a search may expect gains (`raytag.space.worth_varying`).
    needs : Needs, optional
        What data must have for this class to be of use, and the name of the class that does without it.
    """

    worth_varying: ClassVar[Mapping[str, Any]] = {}
    needs: ClassVar[Needs | None] = None

    @property
    def name(self) -> str:
        """What chooses this class."""
        return type(self).__name__

    @model_serializer(mode="wrap")
    def _with_name(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"name": self.name, **fields(self)}


class Features(Member):
    """A feature set: what of a recording is worth caching, as int16 (frames, width).

    A launch builds a cache and a bank of each set that its experiments name. What depends on the set alone is asked
    of it: its size, noise to time a training on, a summary of clips.

    Attributes
    ----------
    sample_rate : int
        Hz.
    level_of : str
        What `level` measures, in words.
    kernels : tuple of str
        Rooms with kernels that trainings on it need besides those of all trainings (`raytag.compiled.once`).
    """

    level_of: ClassVar[str]
    kernels: ClassVar[tuple[str, ...]] = ()

    sample_rate: int

    @property
    @abstractmethod
    def width(self) -> int:
        """Values of a frame."""

    @property
    @abstractmethod
    def rate(self) -> float:
        """Frames a second."""

    @property
    @abstractmethod
    def highest(self) -> float:
        """Up to which frequency sound is heard, Hz."""

    @property
    def variant(self) -> str:
        """Which of the `copies` of recordings is computed; "" is the recordings as they are."""
        return ""

    def copies(self) -> tuple[Features, ...]:
        """The sets that recordings and their variants are computed by, recordings as they are first.

        Each has a cache of its own; the bank of this set has all of them.
        """
        return (self,)

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` where the fields fit no transform; the message names field and limits."""

    @abstractmethod
    def compute(self, data: bytes, path: str) -> tuple[NDArray[np.int16], tuple[str, ...]]:
        """Frames (n, width) of a file's content, and remarks on it (`raytag.features.remarks`).

        Raises
        ------
        UnusableClip
            `raytag.features.decoding.UnusableClip`; ``path`` is for its message.
        """

    def begins(self, data: bytes, path: str) -> float:
        """Where in the recording the first frame begins, seconds; errors as in `compute`."""
        return 0.0

    @abstractmethod
    def noise(self, frames: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """Frames (n, width) that cost what real ones cost."""

    @abstractmethod
    def summary(self, bank: Any, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """A vector of each clip of a `raytag.features.Bank`, (n, k), by which a linear model tells sounds apart."""

    @abstractmethod
    def level(self, frames: NDArray[np.int16]) -> float:
        """The level of a clip, dB."""

    @abstractmethod
    def at_rate(self, sample_rate: int) -> dict[str, float]:
        """Fields that make of recordings with this rate what these make of theirs."""


class Input(Member):
    """The fields of an input: how the frames of a bank become what a network sees.

    Attributes
    ----------
    reads : str
        The name of the feature set's class that it reads.
    feed : str
        ``"module:Class"`` of its `raytag.batch.Feed`, made of a bank, this input, and the bank's features; or
        `open` is its own.
    sizes : tuple of str
        Dotted keys of the fields that decide how large a sample is.
    pads : bool
        Whether samples have lengths of their own, which batches tell (`raytag.batch.Batch.lengths`).
    """

    reads: ClassVar[str]
    feed: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]] = ()
    pads: ClassVar[bool] = False

    @abstractmethod
    def shape(self, features: Any) -> tuple[int, ...]:
        """Of a sample: (channels, bands, frames) or (samples,); of one that is padded, the most in training."""

    @abstractmethod
    def span(self, features: Any) -> int:
        """Frames of the bank that a sample covers; where `pads`, the most in training."""

    @property
    def open_ended(self) -> bool:
        """Whether `in_epoch` gives the same however many epochs a training has (`Schedule.open_ended`)."""
        return True

    def in_epoch(self, epoch: int, epochs: int) -> Input:
        """What makes the batches of an epoch, counted from 0, of so many: this input itself, or a copy that reads
        clips as they are."""
        return self

    def for_test(self) -> Input:
        """What reads test clips and recordings that a run never saw: this input itself, or a copy that tiles them
        otherwise."""
        return self

    def open(self, bank: Any, features: Any) -> Feed:
        """A `raytag.features.Bank` of these features as this input reads it."""
        feed: Feed = resolve(self.feed)(bank, self, features)
        return feed


class FrontEnd(Member):
    """The fields of a front end: what is computed on the device between the input and the network.

    Attributes
    ----------
    sizes : tuple of str
        Dotted keys of its fields that decide how large a sample is.
    takes_lengths : bool
        Whether its module takes ``(x, lengths)`` of padded batches too, see `raytag.batch.Batch`, and then returns
        what the network sees and how many frames of each sample are sound, int64 (B,).
    """

    sizes: ClassVar[tuple[str, ...]] = ()
    takes_lengths: ClassVar[bool] = False

    @abstractmethod
    def shape(self, features: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of what the network sees of a sample, given the input's.

        Raises
        ------
        ValueError
            The front end does not take what the input gives.
        """

    @abstractmethod
    def build(self, features: Any) -> nn.Module | None:
        """A module without weights; None where the network sees what the input gives."""


class Network(Member):
    """The fields of a network.

    Attributes
    ----------
    tried_on : tuple of tuple of int
        What its contract tries it on where that cannot be any size (`raytag.testing.models`): (bands, frames) of
        images, or (samples,).
    takes_lengths : bool
        Whether its module takes ``(x, lengths)`` of padded batches too, see `raytag.batch.Batch`. Any other network
        behind a front end takes padding for silence.
    bands_are_channels : bool
        Whether each band of an image is a channel to it, because it hears in one dimension: then `build` is told
        channels x bands.
    """

    tried_on: ClassVar[tuple[tuple[int, ...], ...]] = ()
    takes_lengths: ClassVar[bool] = False
    bands_are_channels: ClassVar[bool] = False

    def channels(self, shape: tuple[int, ...]) -> int:
        """What `build` is told of samples of that shape, (channels, bands, frames) or (samples,)."""
        if len(shape) == 1:
            return 1
        return shape[0] * shape[1] if self.bands_are_channels else shape[0]

    @abstractmethod
    def build(self, num_classes: int, channels: int) -> nn.Module:
        """The network with fresh weights, drawn from torch's global generator.

        It takes (B, channels, bands, frames) or (B, samples), and returns `raytag.batch.Outputs`.
        """


class Loss(Member):
    """The fields of a loss.

    Attributes
    ----------
    compares_clips : bool
        Whether what a clip counts depends on the other clips of its batch.
    """

    compares_clips: ClassVar[bool] = False

    @abstractmethod
    def build(self, num_classes: int) -> Callable[[Outputs, Targets], Tensor]:
        """What gives a scalar; where it has weights, an ``nn.Module``: they are trained beside the network's."""


class Learner(Member):
    """What may learn from an earlier experiment, which then is its field ``parent``."""

    @property
    def earlier(self) -> Any:
        """The `raytag.experiment.Experiment` that it reads; None where it reads none."""
        return getattr(self, "parent", None)


class Init(Learner):
    """Where the weights of a training begin."""

    @abstractmethod
    def begin(self, network: nn.Module, read: Any) -> dict[str, Any]:
        """Give a fresh network its first weights; what was done, as JSON values for the fold's result.

        ``read`` is a `raytag.train.stages.reading.Reading`: all that may be read of earlier stages.
        """


class Pseudo(Learner):
    """How an earlier experiment helps to choose or to label what is trained on."""

    @property
    def reads_by(self) -> str:
        """Which of its models are read, as the field ``reader`` says: see `raytag.train.stages.lineage`."""
        return str(getattr(self, "reader", "same_fold"))

    def check(self, sampling: Any) -> None:
        """Raise ``ValueError`` where a `raytag.experiment.Sampling` leaves it nothing to do."""

    @abstractmethod
    def learn(self, split: Any, read: Any) -> tuple[Any, dict[str, Any]]:
        """The `raytag.train.sources.Split` to train on instead, and what was done, as JSON values."""


class Optimizer(Member):
    """One of torch's optimizers, by its own name and with its own fields."""

    lr: float = Field(9e-4, gt=0)  # Plateau: the start; OneCycle: the peak
    weight_decay: float = Field(0.0, ge=0)

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """torch's optimizer of these parameters."""


class Rate(Protocol):
    """The learning rate as a state machine: a pure function of the step and of the metrics seen so far."""

    def lr_at(self, step: int) -> float:
        """Rate of a step, counted from 0 over the whole training."""
        ...

    def epoch_end(self, metric: float) -> None:
        """Take note of an epoch's validation metric (larger is better)."""
        ...

    def state(self) -> dict[str, Any]:
        """What `load` needs, as JSON values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        ...


class Schedule(Member):
    """The fields of a learning-rate schedule.

    Attributes
    ----------
    open_ended : bool
        Whether the rate of a step is the same however many epochs the training has. Then a longer training begins
        with the very steps of a shorter one, and may go on from its last checkpoint (`raytag.train.twins`).
    watches : bool
        Whether the rate depends on the metrics, and with them on the labels of the fold that is left out.
    """

    open_ended: ClassVar[bool]
    watches: ClassVar[bool] = True

    @abstractmethod
    def start(self, lr: float, total_steps: int) -> Rate:
        """The rate of a training of ``total_steps``; ``lr`` is where it starts or peaks."""


def resolve(target: str) -> Any:
    """What ``module:name`` means; the module is imported now, so that a table of names costs nothing."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
