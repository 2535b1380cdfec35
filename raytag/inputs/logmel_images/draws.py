"""The random numbers of a batch, drawn in one go.

`Draws` holds every choice that augmentation makes for a batch, as plain arrays: draw once, look at it, store
it, and apply it with `raytag.inputs.logmel_images.Augmenter.images` as often as you like. The rules are those of
argus-freesound's transforms and mixers; the stream of random numbers is raytag's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from raytag.inputs.logmel_images.settings import LogMelImages

#: Values of `Draws.mixer`.
UNMIXED, SIGMOID, ADD = 0, 1, 2

#: Attempts at a box that fits into the image before the fallback, as in torchvision's RandomResizedCrop.
BOX_ATTEMPTS = 10


class Draws(NamedTuple):
    """All choices for a batch of B samples.

    Axis 1 of the first six arrays is the image: 0 the sample's own clip, 1 its partner's. A partner's choices
    are drawn for every sample and used where ``mixer`` is not `UNMIXED`.

    Attributes
    ----------
    first : int64 (B, 2)
        Frame of the clip that the crop starts with. Negative where a clip shorter than the crop is padded:
        ``-first`` frames on the left, the rest on the right.
    wrap : bool (B, 2)
        How a short clip is padded: by repeating it, or with its minimum.
    box : int64 (B, 2, 4)
        Part of the crop that is stretched over the whole image: lowest mel band, first frame, bands, frames.
        ``(0, 0, n_mels, crop_frames)`` leaves the image as it is.
    num_masks : int64 (B, 2)
        Rounds of SpecAugment; 0 masks nothing.
    mel_masks, frame_masks : int64 (B, 2, rounds, 2)
        First mel band (frame) of each round's mask and its size, which may be 0. Rounds from ``num_masks`` on
        are unused.
    mixer : int64 (B,)
        `UNMIXED`, `SIGMOID` or `ADD`.
    radius : int64 (B,)
        `SIGMOID`: the mask is a sigmoid over [-radius, radius).
    alpha : float32 (B,)
        `ADD`: the partner's weight.
    """

    first: NDArray[np.int64]
    wrap: NDArray[np.bool_]
    box: NDArray[np.int64]
    num_masks: NDArray[np.int64]
    mel_masks: NDArray[np.int64]
    frame_masks: NDArray[np.int64]
    mixer: NDArray[np.int64]
    radius: NDArray[np.int64]
    alpha: NDArray[np.float32]


def draw(
    settings: LogMelImages,
    n_mels: int,
    frames: NDArray[np.int64],
    partner_frames: NDArray[np.int64],
    rng: np.random.Generator,
) -> Draws:
    """Draw all choices for a batch.

    Parameters
    ----------
    settings : LogMelImages
        Probabilities and ranges.
    n_mels : int
        Height of the images, bands.
    frames, partner_frames : int64 (B,)
        Lengths of the samples' clips and of their partners, frames.
    rng : numpy.random.Generator
        Its state alone decides the result, with the shapes.

    Raises
    ------
    ValueError
        Lengths that do not match each other, or a clip without frames.
    """
    lengths = clip_lengths(frames, partner_frames)
    shape = lengths.shape
    n, rounds = len(lengths), settings.num_masks[1]
    masked = rng.random(shape) < settings.specaugment_prob
    num_masks = rng.integers(settings.num_masks[0], rounds + 1, shape)
    mixed = rng.random(n) < settings.mix_prob
    concatenated = rng.random(n) < settings.sigmoid_share
    return Draws(
        first=_first_frames(lengths, settings.crop_frames, rng),
        wrap=rng.random(shape) < settings.wrap_pad_prob,
        box=_boxes(settings, n_mels, shape, rng),
        num_masks=np.where(masked, num_masks, 0),
        mel_masks=_masks(settings.freq_mask_fraction, n_mels, (*shape, rounds), rng),
        frame_masks=_masks(settings.time_mask_fraction, settings.crop_frames, (*shape, rounds), rng),
        mixer=np.where(mixed, np.where(concatenated, SIGMOID, ADD), UNMIXED),
        radius=rng.integers(settings.sigmoid_radius[0], settings.sigmoid_radius[1] + 1, (n,)),
        alpha=_shares(settings, n, rng),
    )


def _shares(settings: LogMelImages, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The partners' weights; they are drawn last, for Beta variates take as many random numbers as they need."""
    if settings.add_beta is None:
        return rng.uniform(0.0, settings.add_max_alpha, (n,)).astype(np.float32)
    return rng.beta(settings.add_beta, settings.add_beta, (n,)).astype(np.float32)


def clip_lengths(frames: NDArray[np.int64], partner_frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Both lengths of every sample, int64 (B, 2); ValueError where they do not match or a clip is empty."""
    own, partner = np.asarray(frames), np.asarray(partner_frames)
    if own.ndim != 1 or own.shape != partner.shape:
        raise ValueError(
            f"frames and partner_frames must be vectors of one length, not {own.shape} and {partner.shape}"
        )
    lengths = np.stack([own, partner], axis=1).astype(np.int64)
    if np.any(lengths < 1):
        sample, image = np.argwhere(lengths < 1)[0]
        whose = ("its own clip", "its partner")[image]
        raise ValueError(
            f"sample {sample}: {whose} has {lengths[sample, image]} frames; a clip needs at least 1 "
            "(empty clips belong in quarantine)"
        )
    return lengths


def _first_frames(lengths: NDArray[np.int64], crop_frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Uniform starts of crops in long clips; in short ones minus the left padding, half of what is missing."""
    starts = rng.integers(0, np.maximum(lengths - crop_frames, 0) + 1)
    return np.where(lengths < crop_frames, -((crop_frames - lengths) // 2), starts)


def _boxes(
    settings: LogMelImages, n_mels: int, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Boxes of the random resized crop, int64 (*shape, 4) = (band, frame, bands, frames).

    Inception's crop as torchvision samples it: an area share uniform in ``resized_crop_scale``, a ratio
    width/height log-uniform in ``resized_crop_ratio``, sides rounded to integers, the first of `BOX_ATTEMPTS`
    that fits, placed uniformly.
    """
    width = settings.crop_frames
    resized = rng.random(shape) < settings.resized_crop_prob
    area = rng.uniform(*settings.resized_crop_scale, (*shape, BOX_ATTEMPTS)) * (width * n_mels)
    low, high = settings.resized_crop_ratio
    ratio = np.exp(rng.uniform(math.log(low), math.log(high), (*shape, BOX_ATTEMPTS)))
    w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= n_mels)
    attempt = fits.argmax(axis=-1)[..., None]
    w = np.take_along_axis(w, attempt, -1)[..., 0]
    h = np.take_along_axis(h, attempt, -1)[..., 0]
    found = fits.any(axis=-1)
    band = rng.integers(0, np.where(found, n_mels - h, 0) + 1)
    frame = rng.integers(0, np.where(found, width - w, 0) + 1)
    box = np.where(
        np.expand_dims(found, -1), np.stack([band, frame, h, w], axis=-1), _fallback_box(low, high, n_mels, width)
    )
    return np.where(resized[..., None], box, (0, 0, n_mels, width))


def _fallback_box(low: float, high: float, n_mels: int, width: int) -> tuple[int, int, int, int]:
    """The largest centred box whose ratio is in range."""
    w, h = width, n_mels
    if width / n_mels < low:
        h = max(1, round(width / low))
    elif width / n_mels > high:
        w = max(1, round(n_mels * high))
    return (n_mels - h) // 2, (width - w) // 2, h, w


def _masks(max_fraction: float, size: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """(first, extent) of masks along an axis of ``size``, int64 (*shape, 2).

    The share is uniform in [0, max_fraction), the extent that share of ``size`` rounded down, the first
    position uniform in [0, size - extent) and rounded down: the last position of an axis is never masked.
    """
    extent = (rng.uniform(0.0, max_fraction, shape) * size).astype(np.int64)
    first = (rng.random(shape) * (size - extent)).astype(np.int64)
    return np.stack([first, extent], axis=-1)


def check_draws(
    draws: Draws, lengths: NDArray[np.int64], n_mels: int, crop_frames: int, radii: tuple[int, int]
) -> Draws:
    """Draws with the types and bounds that the kernels rely on.

    Parameters
    ----------
    lengths : int64 (B, 2)
        Frames of the samples' clips and their partners'.

    Raises
    ------
    ValueError
        Naming the field: draws of another batch, or of another configuration.
    """
    types = {"wrap": np.bool_, "alpha": np.float32}
    checked = Draws(*[np.array(a, types.get(k, np.int64), order="C") for k, a in draws._asdict().items()])
    n = len(lengths)
    rounds = checked.mel_masks.shape[2] if checked.mel_masks.ndim == 4 else 0
    shapes = ((n, 2), (n, 2), (n, 2, 4), (n, 2), (n, 2, rounds, 2), (n, 2, rounds, 2), (n,), (n,), (n,))
    arrays = cast("tuple[np.ndarray, ...]", tuple(checked))  # of several types, which mypy joins to object or not
    for name, array, shape in zip(Draws._fields, arrays, shapes, strict=True):
        if array.shape != shape:
            raise ValueError(f"draws.{name} must have shape {shape} for {n} samples, not {array.shape}")
    short = lengths < crop_frames
    expected = np.where(short, -((crop_frames - lengths) // 2), np.clip(checked.first, 0, lengths - crop_frames))
    unread = np.zeros((n, 2), dtype=bool)
    unread[:, 1] = checked.mixer == UNMIXED
    bounds = {
        "first": (checked.first == expected) | unread,
        "box": _inside(checked.box[..., 0], checked.box[..., 2], n_mels, 1)
        & _inside(checked.box[..., 1], checked.box[..., 3], crop_frames, 1),
        "num_masks": (checked.num_masks >= 0) & (checked.num_masks <= rounds),
        "mel_masks": _inside(checked.mel_masks[..., 0], checked.mel_masks[..., 1], n_mels, 0),
        "frame_masks": _inside(checked.frame_masks[..., 0], checked.frame_masks[..., 1], crop_frames, 0),
        "mixer": (checked.mixer >= UNMIXED) & (checked.mixer <= ADD),
        "radius": (checked.radius >= radii[0]) & (checked.radius <= radii[1]),
    }
    for name, valid in bounds.items():
        if not valid.all():
            sample = int(np.argwhere(~valid)[0][0])
            raise ValueError(
                f"draws.{name} of sample {sample} does not fit clips of {lengths[sample].tolist()} frames and "
                f"images of {n_mels} x {crop_frames}: draw with the frames of the same rows and partners"
            )
    return checked


def _inside(first: NDArray[np.int64], extent: NDArray[np.int64], size: int, smallest: int) -> NDArray[np.bool_]:
    return (first >= 0) & (extent >= smallest) & (first + extent <= size)
