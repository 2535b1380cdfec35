"""Probabilities for clips: those of the tiles that cover a clip, pooled.

Predictions are computed and kept in float32: rounding to bf16 would tie scores and ties cost lwlrap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from raytag.batch import Batch, Feed, PaddedFeed
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.models.tagger import tagger
from raytag.store.predictions import predictions_frame

TILES_PER_BATCH = 64
BATCHES_TO_SORT = 8  # of clips of many lengths, so that those of similar length meet


def predict(
    model: torch.nn.Module,
    feed: Feed,
    rows: np.ndarray,
    device: torch.device,
    advance: Callable[[int], None] = lambda tiles: None,
    tiles: list[NDArray[np.float32]] | None = None,
) -> np.ndarray:
    """The sigmoid of the clip logits of each of a clip's tiles, pooled over the tiles as the input says.

    Parameters
    ----------
    model : torch.nn.Module
        Takes what ``feed`` gives, returns `raytag.batch.Outputs`.
    feed : Feed
        A bank as an input reads it.
    rows : int64 array (n,)
        Rows of the bank.
    device : torch.device
    advance : callable
        Called after each batch with its tiles.
    tiles : list, optional
        To which the probabilities of the tiles are added, float32 (any number, n_classes), in the order of
        ``feed.first_frames(rows)``.

    Returns
    -------
    float32 array (n, n_classes)
    """
    counts = feed.count_tiles(rows)
    total: list[np.ndarray] = []
    for chunk in _chunks(feed, rows):
        order, parts = _batches(feed, rows[chunk], counts[chunk])
        logits, owners = [], []
        for part in parts:
            batch, owner = feed.tiles(rows[chunk][order], part)
            logits.append(_logits(model, batch, device))
            owners.append(torch.from_numpy(order[owner]))
            advance(part.stop - part.start)
        probabilities, of = torch.sigmoid(torch.cat(logits)), torch.cat(owners)
        back = torch.argsort(of, stable=True)  # as the clips came
        probabilities, of = probabilities[back], of[back]
        if tiles is not None:
            tiles.append(probabilities.numpy())
        pooled = torch.zeros(chunk.stop - chunk.start, probabilities.shape[1])
        if feed.pooling == "max":
            # no probability is below 0
            pooled.scatter_reduce_(0, of.unsqueeze(1).expand_as(probabilities), probabilities, "amax")
        else:
            pooled.index_add_(0, of, probabilities)
            pooled = pooled / torch.from_numpy(counts[chunk]).float().unsqueeze(1)
        total.append(pooled.numpy())
    return np.concatenate(total) if total else np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class Windows:
    """Probabilities of the tiles of some clips, clip after clip, left to right.

    Attributes
    ----------
    owner : int64 array (n_tiles,)
        Number of the clip; each has a tile.
    start, end : float64 array (n_tiles,)
        Seconds from where the clip's features begin, or in its recording; outside of the clip where a tile of a
        fixed length is padded.
    probabilities : float32 array (n_tiles, n_classes)
    """

    owner: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    probabilities: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        feed: Feed,
        rows: NDArray[np.int64],
        values: NDArray[np.float32],
        begins: Sequence[float] | None = None,
    ) -> Self:
        """Of the tiles of ``rows``: ``values`` are what `predict` gives, ``begins`` where the clips begin, s."""
        first, owner = feed.first_frames(rows)
        rate = experiment.features.rate
        span: Any = experiment.input.span(experiment.features)
        if isinstance(feed, PaddedFeed):
            span = feed.sample_frames(rows)[owner]
        offset = np.zeros(len(first)) if begins is None else np.asarray(begins)[owner]
        return cls(owner, first / rate + offset, (first + span) / rate + offset, values)

    @classmethod
    def none(cls, n_classes: int) -> Self:
        """Of no clip."""
        nothing = np.zeros(0)
        return cls(nothing.astype(np.int64), nothing, nothing, np.zeros((0, n_classes), np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All of them, as those of all their clips; at least one."""
        clips = np.cumsum([0, *(part.owner.max(initial=-1) + 1 for part in parts)])
        moved = [replace(part, owner=part.owner + n) for part, n in zip(parts, clips, strict=False)]
        fields = ("owner", "start", "end", "probabilities")
        return cls(*(np.concatenate([getattr(part, name) for part in moved]) for name in fields))

    def frame(self, fnames: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
        """A table: fname, start_s and end_s (float64), then one float32 column a class; ``fnames`` by clip."""
        found = predictions_frame([fnames[i] for i in self.owner], self.probabilities, classes)
        found.insert(1, "start_s", self.start.round(6))  # microseconds
        found.insert(2, "end_s", self.end.round(6))
        return found


class Line:
    """Clips that come a few at a time, handed on so that `predict` makes the batches of all of them at once.

    What a network makes of a tile depends, in the last bits, on how many others share its batch.

    Parameters
    ----------
    experiment : Experiment
        Whose input reads the clips, as it reads test clips.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._features, self._input = experiment.features, experiment.input.for_test()
        self._waiting: list[np.ndarray] = []

    def add(self, clips: Sequence[np.ndarray], last: bool) -> tuple[Feed, np.ndarray]:
        """A feed, and those of its rows whose batches no later clip joins: the next clips in line, in order.

        Parameters
        ----------
        clips : sequence of int16 arrays (frames, width)
            Features.
        last : bool
            Whether no clip comes after these.
        """
        self._waiting += clips
        offsets = np.cumsum([0, *map(len, self._waiting)])
        buffer = np.concatenate([np.empty((0, self._features.width), np.int16), *self._waiting])
        rows = np.arange(len(self._waiting))
        feed = self._input.open(Bank(buffer, offsets, [str(row) for row in rows]), self._features)
        chunks = _chunks(feed, rows)
        ready = len(rows) if last or not chunks else chunks[-1].start
        self._waiting = self._waiting[ready:]
        return feed, rows[:ready]


def restored(
    experiment: Experiment, state: Mapping[str, torch.Tensor], num_classes: int, device: torch.device
) -> torch.nn.Module:
    """An experiment's model with the weights of a finished fold, laid out as in training: bits depend on that."""
    model = tagger(experiment, num_classes)
    model.load_state_dict(state)
    layout = torch.channels_last if experiment.training.channels_last else torch.contiguous_format
    return model.to(device).to(memory_format=layout)  # type: ignore[call-overload]


def predict_middles(model: torch.nn.Module, feed: Feed, rows: np.ndarray, device: torch.device) -> np.ndarray:
    """Sigmoid of the clip logits for the middle of each clip: the quick validation during training.

    Returns
    -------
    float32 array (n, n_classes)
    """
    order, parts = _batches(feed, rows, np.ones_like(rows))
    found = [torch.sigmoid(_logits(model, feed.middles(rows[order][part]), device)).numpy() for part in parts]
    return np.concatenate(found)[np.argsort(order)]


def _chunks(feed: Feed, rows: NDArray[np.int64]) -> list[slice]:
    """Runs of clips whose batches no other clip joins, so that memory stays bounded.

    They have about TILES_PER_BATCH tiles in all; where samples are padded, about as many frames as BATCHES_TO_SORT
    batches have.
    """
    if isinstance(feed, PaddedFeed):
        sizes, most = feed.sample_frames(rows) * feed.count_tiles(rows), BATCHES_TO_SORT * feed.batch_frames
    else:
        sizes, most = feed.count_tiles(rows), TILES_PER_BATCH
    chunks, start, held = [], 0, 0
    for i, size in enumerate(sizes):
        if held and held + size > most:
            chunks.append(slice(start, i))
            start, held = i, 0
        held += int(size)
    if held:
        chunks.append(slice(start, len(sizes)))
    return chunks


def _batches(
    feed: Feed, rows: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[slice]]:
    """The order in which clips are predicted, and which of all their samples, ``counts`` of each, share a batch.

    They share it as they come, at most TILES_PER_BATCH at a time, of a long clip never all at once. Padded ones are
    ordered by length, and batches hold at most ``feed.batch_frames`` besides.
    """
    if not isinstance(feed, PaddedFeed):
        n = int(counts.sum())
        parts = np.array_split(np.arange(n), max(1, -(-n // TILES_PER_BATCH)))
        return np.arange(len(rows)), [slice(part[0], part[-1] + 1) for part in parts]
    sizes = feed.sample_frames(rows)
    order = np.argsort(sizes, kind="stable")
    slices, start = [], 0
    longest = np.repeat(sizes[order], counts[order])
    for i, frames in enumerate(longest):  # the shorter ones are padded to the longest, which comes last
        if i > start and (i - start == TILES_PER_BATCH or (i - start + 1) * frames > feed.batch_frames):
            slices.append(slice(start, i))
            start = i
    return order, [*slices, slice(start, len(longest))]


@torch.inference_mode()
def _logits(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Clip logits on the CPU, (B, n_classes) float32."""
    was_training = model.training
    model.eval()
    outputs = batch.to(device, torch.channels_last).through(model)
    model.train(was_training)
    return outputs.clip.float().cpu()
