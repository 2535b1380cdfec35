"""What passes from one stage of a training step to the next; read this first when you write a stage of your own.

    rows of the bank ─input─▶ Batch ─front end, network─▶ Outputs ─loss(Outputs, Targets)─▶ a number

Shapes: B samples, C classes, T frames of a network's output.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

#: How the probabilities of a clip's samples become the clip's.
Pooling = Literal["mean", "max"]
ALL = slice(None)


@dataclass(frozen=True)
class Drawn:
    """What is drawn for a batch, before the input makes it: clips, and others of the same source to mix with.

    Attributes
    ----------
    rows, partners : int64 (B,)
        Rows of the bank.
    present, partner_present : float32 (B, C)
        Evidence for each class, see `Targets`.
    noisy : bool (B,)
        Whether a sample's labels were not checked by people.
    absent, partner_absent : float32 (B, C), optional
        Evidence against each class; None where every label is known, and it is ``1 - present``.
    """

    rows: NDArray[np.int64]
    partners: NDArray[np.int64]
    present: NDArray[np.float32]
    partner_present: NDArray[np.float32]
    noisy: NDArray[np.bool_]
    absent: NDArray[np.float32] | None = None
    partner_absent: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if (self.absent is None) != (self.partner_absent is None):
            raise ValueError("give absent and partner_absent, or neither: else what is unknown would be lost")


@dataclass(frozen=True)
class Targets:
    """What is known of the classes of each sample: two planes of weights, none negative.

    An ordinary label y is ``present = y, absent = 1 - y``; an unknown one is 0 in both and gives no gradient; a
    soft positive is ``present = 0.5``; a trusted negative is ``absent = 1``.

    Attributes
    ----------
    present : float32 (B, C)
        Evidence for each class.
    noisy : bool (B,)
        Whether a sample's labels were not checked by people.
    absent : float32 (B, C), optional
        Evidence against each class. None is ``1 - present``: every label is known, whole or in part.
    frames : tuple of two float32 (B, C, T), optional
        The same planes in time, for systems that have them.
    """

    present: Tensor
    noisy: Tensor
    absent: Tensor | None = None
    frames: tuple[Tensor, Tensor] | None = None

    def labels(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Labels in [0, 1] and what each of them weighs, (B, C) both; weights of None are all 1.

        A loss of labels becomes one of evidence when its cells are multiplied by these weights: for binary
        cross-entropy that gives ``present · softplus(-x) + absent · softplus(x)``.
        """
        present = self.present.to(dtype)
        if self.absent is None:
            return present, None
        weights = present + self.absent.to(dtype)
        return present / weights.where(weights > 0, 1.0), weights

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(**{field.name: _moved(getattr(self, field.name), device) for field in fields(self)})


@dataclass(frozen=True)
class Batch:
    """What an input makes for a network.

    Attributes
    ----------
    x : float32 (B, channels, bands, frames) or (B, samples)
    targets : Targets, optional
        In training.
    lengths : int64 (B,), optional
        How much of each row of ``x`` is sound, along its last axis, where an input pads; the network gets it as its
        second argument. None where all of it is.
    """

    x: Tensor
    targets: Targets | None = None
    lengths: Tensor | None = None

    def to(self, device: torch.device, memory_format: torch.memory_format | None = None) -> Self:
        """The same on a device; images are laid out in ``memory_format``."""
        if memory_format is not None and self.x.ndim == 4:
            x = self.x.to(device, memory_format=memory_format)
        else:
            x = self.x.to(device)
        targets = None if self.targets is None else self.targets.to(device)
        return type(self)(x, targets, _moved(self.lengths, device))

    def through(self, network: torch.nn.Module) -> Outputs:
        """What a network makes of it."""
        outputs: Outputs = network(self.x) if self.lengths is None else network(self.x, self.lengths)
        return outputs


@dataclass(frozen=True)
class Outputs:
    """What a network returns. Logits, no probabilities.

    Attributes
    ----------
    clip : (B, C)
        What is scored, and predicted from.
    aux : tuple of (B, C)
        Of further classifiers, which help to train, deep to shallow.
    frame : (B, C, T), optional
        Logits in time.
    mask : (B, T), optional
        Where ``frame`` is sound and no padding, bool.
    embedding : (B, D), optional
        What the classifier reads.
    """

    clip: Tensor
    aux: tuple[Tensor, ...] = ()
    frame: Tensor | None = None
    mask: Tensor | None = None
    embedding: Tensor | None = None


class Feed(Protocol):
    """A bank as an input reads it: batches to train on, and clips to predict.

    Where its samples have lengths of their own, it is a `PaddedFeed`.
    """

    pooling: Pooling

    def training(self, drawn: Drawn, rng: np.random.Generator) -> Batch:
        """A batch with targets; ``rng`` alone makes its random choices."""
        ...

    def middles(self, rows: NDArray[np.int64]) -> Batch:
        """One sample of the middle of each clip, for the quick validation after an epoch."""
        ...

    def count_tiles(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many samples `tiles` makes of each clip, at least one, int64 (n,)."""
        ...

    def first_frames(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first frame of each of these samples, counted from its clip's, and which of ``rows`` it belongs to.

        int64 (n_tiles,) both; a frame is negative where a sample begins before its clip.
        """
        ...

    def tiles(self, rows: NDArray[np.int64], which: slice = ALL) -> tuple[Batch, NDArray[np.int64]]:
        """Samples that cover whole clips, clip after clip, and which of ``rows`` (0 to n - 1) each belongs to.

        Of all these samples only those are made that ``which`` says: an hour of sound has thousands.
        """
        ...


@runtime_checkable
class PaddedFeed(Feed, Protocol):
    """A feed whose samples are padded to the longest of their batch.

    Attributes
    ----------
    batch_frames : int
        Of a batch that is predicted, padding included, but for one that has a single sample.
    """

    batch_frames: int

    def sample_frames(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames of each clip's samples, int64 (n,): of all its tiles, and of its middle."""
        ...


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors, tuples of them, or None."""
    if isinstance(value, tuple):
        return tuple(_moved(one, device) for one in value)
    return None if value is None else value.to(device)
