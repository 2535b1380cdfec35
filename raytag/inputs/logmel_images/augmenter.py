"""Training samples: padded, cropped, stretched, masked, mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.features.bank import Bank
from raytag.inputs.logmel_images import kernel
from raytag.inputs.logmel_images.checks import (
    bank_arrays,
    delta_taps,
    image_width,
    lengths,
    output,
    row_numbers,
)
from raytag.inputs.logmel_images.draws import Draws, check_draws, draw
from raytag.inputs.logmel_images.settings import LogMelImages


class Augmenter:
    """What happens between a bank of log-mels and a training batch.

    Drawing and computing are apart: `draw` makes all random choices, `images` applies them, and
    the same draws give the same bytes. A sample passes through

    1. padding of short clips to ``crop_frames``, by repetition or with the clip's minimum,
    2. a random crop of ``crop_frames`` frames,
    3. a random resized crop (bilinear),
    4. SpecAugment, masking with the image's minimum,
    5. division by 100 and the deltas of order 1 and 2 (Savitzky-Golay, width 9, edges by polynomial fit),
    6. a mixer: the other sample fades into this one along time (`SIGMOID`), or is added to it (`ADD`).

    This is the chain of argus-freesound, the winner of Freesound Audio Tagging 2019.

    Parameters
    ----------
    settings : LogMelImages
    n_mels : int
        Bands of the bank.

    Examples
    --------
    >>> rng = generator(seed, epoch, step)
    >>> draws = augmenter.draw(bank.frames[rows], bank.frames[partners], rng)
    >>> images = augmenter.images(bank, rows, partners, draws, out=images)
    >>> targets = mixed_targets(drawn, draws.mixer == SIGMOID, draws.mixer == ADD, draws.alpha)
    """

    def __init__(self, settings: LogMelImages, n_mels: int) -> None:
        if n_mels < 1:
            raise ValueError(f"n_mels must be positive, not {n_mels}")
        self.settings = settings
        self.n_mels = int(n_mels)
        self.crop_frames = image_width(settings.crop_frames)
        low, high = settings.sigmoid_radius
        self._sigmoids = np.stack([sigmoid_mask(r, self.crop_frames) for r in range(low, high + 1)])

    def draw(self, frames: ArrayLike, partner_frames: ArrayLike, rng: np.random.Generator) -> Draws:
        """All random choices for a batch of B samples.

        Parameters
        ----------
        frames, partner_frames : int64 (B,)
            Frames of the samples' clips, and of those that they may be mixed with.
        rng : numpy.random.Generator
            For example ``raytag.seeding.generator(seed, epoch, step, stream)``.
        """
        return draw(self.settings, self.n_mels, np.asarray(frames), np.asarray(partner_frames), rng)

    def images(
        self,
        bank: Bank,
        rows: ArrayLike,
        partners: ArrayLike,
        draws: Draws,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """The batch's images. One thread, without the GIL: split a batch over threads to use more.

        Parameters
        ----------
        bank : Bank
            Log-mels; only read. The clip of a partner is read where its sample is mixed.
        rows, partners : int64 (B,)
            Rows of the bank: the samples' clips and their partners'.
        draws : Draws
            Made for the lengths of these very clips.
        out : float32 (B, 3, n_mels, crop_frames), optional
            Where to write. A batch of 128 is 50 MB: reusing one array saves a third of the time, which goes
            into fresh memory pages otherwise.

        Returns
        -------
        float32 (B, 3, n_mels, crop_frames)
            dB / 100, first and second delta; ``out`` where given.

        Raises
        ------
        ValueError
            Rows that the bank does not have, another number of bands, draws of other clips, or an ``out``
            that does not fit.
        """
        if bank.buffer.shape[1] != self.n_mels:
            raise ValueError(
                f"the bank has {bank.buffer.shape[1]} mel bands, the augmenter is for {self.n_mels}: "
                "features.n_mels must be the same for both"
            )
        own = row_numbers(bank, rows)
        other = row_numbers(bank, partners, "partners")
        if own.shape != other.shape:
            raise ValueError(f"{len(own)} rows cannot have {len(other)} partners")
        frames = np.stack([lengths(bank, own), lengths(bank, other)], axis=1)
        draws = check_draws(draws, frames, self.n_mels, self.crop_frames, self.settings.sigmoid_radius)
        images = output(out, (len(own), 3, self.n_mels, self.crop_frames))
        kernel.augment_batch(
            *bank_arrays(bank),
            own,
            other,
            draws,
            self.settings.sigmoid_radius[0],
            self._sigmoids,
            delta_taps(),
            images,
        )
        return images


def sigmoid_mask(radius: int, width: int) -> NDArray[np.float32]:
    """Weight of the sample that is heard last, float32 (width,).

    The sigmoid at ``width`` evenly spaced points of [-radius, radius), the first one included. Counting the
    points instead of stepping through the interval gives exactly ``width`` of them for any radius.
    """
    x = (np.arange(width) * 2 / width - 1) * radius
    return (1 / (1 + np.exp(-x))).astype(np.float32)
