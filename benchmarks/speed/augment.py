"""Augmentation and batch assembly: raytag's fused kernels against one sample at a time in numpy.

    python benchmarks/speed/augment.py                    # a synthetic bank
    python benchmarks/speed/augment.py --data FOLDER      # log-mels of the recordings in a folder

The plain path is what a PyTorch ``Dataset`` does for each sample, and what argus-freesound did: numpy pads,
crops and masks, Pillow's bilinear resize, ``librosa.feature.delta`` twice, the same again for the partner of
a mixed sample, then ``np.stack``. Both paths draw with argus-freesound's probabilities, read the same bank and
make the same images, whose greatest difference is printed. One thread each.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import librosa
import numpy as np
from _timing import Row, add_json_argument, compare, print_table, write_json
from threadpoolctl import threadpool_limits

from raytag.experiment import Features
from raytag.features.bank import Bank
from raytag.inputs.logmel_images import reference
from raytag.inputs.logmel_images.augmenter import Augmenter, sigmoid_mask
from raytag.inputs.logmel_images.draws import ADD, UNMIXED, Draws
from raytag.inputs.logmel_images.settings import LogMelImages
from raytag.inputs.logmel_images.tiles import count_tiles, tiles
from raytag.seeding import generator

try:
    from PIL import Image
except ImportError:
    raise SystemExit("the plain path resizes with Pillow: pip install pillow") from None

AUDIO = {".wav", ".ogg", ".flac", ".mp3"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="recordings, searched for recursively")
    parser.add_argument("--clips", type=int, default=1000, help="clips of the bank (default 1000)")
    parser.add_argument("--batch", type=int, default=128, help="samples a batch (default 128)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default 7)")
    add_json_argument(parser)
    args = parser.parse_args()

    bank = synthetic_bank(args.clips) if args.data is None else recorded_bank(args.data, args.clips)
    logmels = [bank.logmel(i) for i in range(len(bank))]
    print(f"{bank!r}, {bank.nbytes / 1e6:.0f} MB")
    with threadpool_limits(1):
        tables = {
            "training batches, one thread": training(bank, logmels, args.batch, args.rounds),
            "prediction tiles, one thread": prediction(bank, logmels, args.rounds),
        }
    for title, rows in tables.items():
        print_table(title, rows)
    write_json(args.json, tables)


def training(bank: Bank, logmels: list[np.ndarray], batch: int, rounds: int) -> list[Row]:
    augmenter = Augmenter(LogMelImages(), bank.width)
    out = np.empty((batch, 3, bank.width, augmenter.crop_frames), np.float32)

    def drawn(step):
        rng = generator(0, step)
        rows, partners = rng.integers(0, len(bank), (2, batch))
        return rows, partners, augmenter.draw(bank.frames[rows], bank.frames[partners], rng)

    def plain(step):
        rows, partners, draws = drawn(step)
        pairs = enumerate(zip(rows, partners, strict=True))
        width = augmenter.crop_frames
        return np.stack([plain_sample(logmels[r], logmels[p], draws, i, width) for i, (r, p) in pairs])

    difference = np.abs(plain(0) - augmenter.images(bank, *drawn(0))).max()
    print(f"training images: greatest difference {difference:.1e}")
    steps = {name: itertools.count() for name in ("plain", "fresh", "reused")}
    return compare(
        {
            "numpy + Pillow + librosa.feature.delta": lambda: plain(next(steps["plain"])),
            "raytag, a new array each batch": lambda: augmenter.images(bank, *drawn(next(steps["fresh"]))),
            "raytag, one array reused": lambda: augmenter.images(bank, *drawn(next(steps["reused"])), out=out),
        },
        rounds=rounds,
        per=batch,
        unit="samples",
    )


def prediction(bank: Bank, logmels: list[np.ndarray], rounds: int, width: int = 256, step: int = 64) -> list[Row]:
    rows = np.arange(min(32, len(bank)))
    n_tiles = int(count_tiles(bank.frames[rows], width, step).sum())

    def plain():
        return np.stack([tile for row in rows for tile in plain_tiles(logmels[row], width, step)])

    difference = np.abs(plain() - tiles(bank, rows, width, step)[0]).max()
    print(f"tiles: greatest difference {difference:.1e}")
    return compare(
        {"numpy + librosa.feature.delta": plain, "raytag": lambda: tiles(bank, rows, width, step)},
        rounds=rounds,
        per=n_tiles,
        unit="tiles",
    )


def plain_sample(
    logmel: np.ndarray, partner: np.ndarray, draws: Draws, sample: int, crop_frames: int
) -> np.ndarray:
    image = plain_image(logmel, draws, sample, 0, crop_frames)
    if draws.mixer[sample] == UNMIXED:
        return image
    other = plain_image(partner, draws, sample, 1, crop_frames)
    if draws.mixer[sample] == ADD:
        return reference.add(image, other, draws.alpha[sample])
    return reference.concatenate(image, other, sigmoid_mask(int(draws.radius[sample]), crop_frames))


def plain_image(logmel: np.ndarray, draws: Draws, sample: int, which: int, crop_frames: int) -> np.ndarray:
    at = sample, which
    image = reference.crop(logmel, draws.first[at], crop_frames, bool(draws.wrap[at]))
    band, frame, bands, frames = draws.box[at]
    if (bands, frames) != image.shape:
        part = Image.fromarray(image[band : band + bands, frame : frame + frames])
        image = np.asarray(part.resize(image.shape[::-1], Image.Resampling.BILINEAR))
    rounds = draws.num_masks[at]
    if rounds:
        image = reference.specaugment(image, draws.mel_masks[at][:rounds], draws.frame_masks[at][:rounds])
    return channels(image)


def plain_tiles(logmel: np.ndarray, width: int, step: int) -> list[np.ndarray]:
    n_tiles = max(1, -(-(logmel.shape[1] - (width - step)) // step))
    missing = step * n_tiles - (logmel.shape[1] - (width - step))
    padding = ((0, 0), (missing // 2, missing - missing // 2))
    padded = np.pad(logmel, padding, constant_values=logmel.min())
    return [channels(padded[:, k * step : k * step + width]) for k in range(n_tiles)]


def channels(image: np.ndarray) -> np.ndarray:
    deltas = [librosa.feature.delta(image, order=order) for order in (1, 2)]
    return np.stack([image, *deltas]).astype(np.float32) / 100


def synthetic_bank(n_clips: int) -> Bank:
    """Noise in clips of 0.5 to 30 s, short ones more often than long ones."""
    rng = generator(1)
    frames = np.exp(rng.uniform(np.log(32), np.log(1918), n_clips)).astype(np.int64)
    buffer = rng.integers(-80 * 256, 0, (frames.sum(), 128), dtype=np.int16)
    return Bank(buffer, np.concatenate([[0], np.cumsum(frames)]), [str(i) for i in range(n_clips)])


def recorded_bank(folder: Path, n_clips: int) -> Bank:
    """Log-mels of a folder's recordings; unusable ones are left out."""
    from raytag.features import UnusableClip, extract

    clips, logmels = [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO)[:n_clips]:
        try:
            logmels.append(extract(str(path), Features()))
        except UnusableClip as error:
            print(f"{path}: left out ({error})")
        else:
            clips.append(str(path.relative_to(folder)))
    if not clips:
        raise SystemExit(f"{folder}: no usable recordings ({', '.join(sorted(AUDIO))})")
    return Bank.from_logmels(clips, logmels)


if __name__ == "__main__":
    main()
