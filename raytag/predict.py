"""Probabilities for clips: tiles of a clip's whole length, averaged.

Predictions are computed and kept in float32: rounding to bf16 would tie scores and ties cost lwlrap.
"""

from __future__ import annotations

import numpy as np
import torch

from raytag.features.bank import Bank
from raytag.inputs.logmel_images import center_crops, count_tiles, tiles

TILES_PER_BATCH = 64


def predict(
    model: torch.nn.Module,
    bank: Bank,
    rows: np.ndarray,
    *,
    crop_frames: int,
    tile_step: int,
    device: torch.device,
) -> np.ndarray:
    """Mean over a clip's tiles of the sigmoid of the main output.

    Parameters
    ----------
    model : torch.nn.Module
        Takes (B, 3, n_mels, crop_frames), gives logits (B, n_classes) or a tuple that starts with them.
    bank : Bank
    rows : int64 array (n,)
        Rows of the bank.
    crop_frames, tile_step : int
        Width of a tile and distance between tiles, in frames.
    device : torch.device

    Returns
    -------
    float32 array (n, n_classes)
    """
    counts = count_tiles(bank.frames[rows], crop_frames, tile_step)
    total: list[np.ndarray] = []
    for chunk in _chunks(counts):
        images, owner = tiles(bank, rows[chunk], crop_frames, tile_step)
        logits = torch.cat([_logits(model, part, device) for part in np.array_split(images, _parts(len(images)))])
        sums = torch.zeros(chunk.stop - chunk.start, logits.shape[1])
        sums.index_add_(0, torch.from_numpy(owner), torch.sigmoid(logits))
        total.append((sums / torch.from_numpy(counts[chunk]).float().unsqueeze(1)).numpy())
    return np.concatenate(total) if total else np.zeros((0, 0), dtype=np.float32)


def predict_center(
    model: torch.nn.Module, bank: Bank, rows: np.ndarray, *, crop_frames: int, device: torch.device
) -> np.ndarray:
    """Sigmoid of the main output for one centre crop a clip: the quick validation during training.

    Returns
    -------
    float32 array (n, n_classes)
    """
    parts = [
        torch.sigmoid(_logits(model, center_crops(bank, part, crop_frames), device)).numpy()
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
def _logits(model: torch.nn.Module, images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Logits of the main output on the CPU, (B, n_classes) float32."""
    was_training = model.training
    model.eval()
    x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
    output = model(x)
    model.train(was_training)
    main: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return main.float().cpu()
