"""Probabilities for clips: those of the tiles that cover a clip, pooled.

Predictions are computed and kept in float32: rounding to bf16 would tie scores and ties cost lwlrap.
"""

from __future__ import annotations

import numpy as np
import torch

from raytag.batch import Batch, Feed

TILES_PER_BATCH = 64


def predict(model: torch.nn.Module, feed: Feed, rows: np.ndarray, device: torch.device) -> np.ndarray:
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

    Returns
    -------
    float32 array (n, n_classes)
    """
    counts = feed.count_tiles(rows)
    total: list[np.ndarray] = []
    for chunk in _chunks(counts):
        batch, owner = feed.tiles(rows[chunk])
        logits = torch.cat([_logits(model, part, device) for part in batch.split(_parts(len(owner)))])
        pooled = torch.zeros(chunk.stop - chunk.start, logits.shape[1])
        probabilities, of = torch.sigmoid(logits), torch.from_numpy(owner)
        if feed.pooling == "max":
            # no probability is below 0
            pooled.scatter_reduce_(0, of.unsqueeze(1).expand_as(probabilities), probabilities, "amax")
        else:
            pooled.index_add_(0, of, probabilities)
            pooled = pooled / torch.from_numpy(counts[chunk]).float().unsqueeze(1)
        total.append(pooled.numpy())
    return np.concatenate(total) if total else np.zeros((0, 0), dtype=np.float32)


def predict_middles(model: torch.nn.Module, feed: Feed, rows: np.ndarray, device: torch.device) -> np.ndarray:
    """Sigmoid of the clip logits for the middle of each clip: the quick validation during training.

    Returns
    -------
    float32 array (n, n_classes)
    """
    parts = [
        torch.sigmoid(_logits(model, feed.middles(part), device)).numpy()
        for part in np.array_split(rows, _parts(len(rows)))
    ]
    return np.concatenate(parts)


def _chunks(counts: np.ndarray) -> list[slice]:
    """Runs of clips with about TILES_PER_BATCH tiles in all, so that memory stays bounded."""
    chunks, start, held = [], 0, 0
    for i, count in enumerate(counts):
        if held and held + count > TILES_PER_BATCH:
            chunks.append(slice(start, i))
            start, held = i, 0
        held += int(count)
    if held:
        chunks.append(slice(start, len(counts)))
    return chunks


def _parts(n: int) -> int:
    return max(1, -(-n // TILES_PER_BATCH))


@torch.inference_mode()
def _logits(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Clip logits on the CPU, (B, n_classes) float32."""
    was_training = model.training
    model.eval()
    outputs = batch.to(device, torch.channels_last).through(model)
    model.train(was_training)
    return outputs.clip.float().cpu()
