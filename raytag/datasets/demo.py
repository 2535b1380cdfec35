"""A built-in dataset of synthesised sounds in the layout of FSDKaggle2019.

Ten kinds of sound of random pitch, tempo and level, alone or mixed, over background noise: small enough to
train on a laptop and hard enough that experiments differ. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import ArrayLike

from raytag.datasets.table import DatasetError
from raytag.seeding import generator

VERSION = 1  # raised whenever the sounds or files change; an older demo is then replaced
RATE = 44100  # Hz
N_FOLDS = 4
CURATED, NOISY, TEST = 160, 120, 80  # clips
WRONG_LABELS = 0.5  # share of noisy clips
_MARKER = "demo.json"
_SEED = 2019
_STALE_SECONDS = 3600.0  # a build takes seconds, so an older unfinished one was killed

Rng = np.random.Generator


def _time(n: int) -> np.ndarray:
    return np.arange(n) / RATE


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _oscillator(frequency: np.ndarray | float, n: int, phase: float = 0.0) -> np.ndarray:
    """A sine of constant or varying frequency in Hz, (n,)."""
    turns = np.cumsum(np.broadcast_to(frequency, n)) / RATE
    return np.sin(2 * np.pi * turns + phase)


def _onsets(rng: Rng, n: int, per_second: float) -> np.ndarray:
    """Sample numbers of events at a steady tempo with a little jitter, the first within one period."""
    period = RATE / per_second
    beats = rng.uniform(0, 0.5) + np.arange(int(n / period) + 1)
    return np.unique(((beats + rng.uniform(-0.05, 0.05, len(beats))) * period).astype(int).clip(0, n - 1))


def _at_onsets(onsets: np.ndarray, event: Callable[[int], np.ndarray], n: int, length: int) -> np.ndarray:
    out = np.zeros(n)
    for at in onsets:
        stop = min(int(at) + length, n)
        out[at:stop] += event(stop - int(at))
    return out


def sine_tone(rng: Rng, n: int) -> np.ndarray:
    swell = 1 + rng.uniform(0, 0.3) * _oscillator(rng.uniform(0.5, 2), n)
    return swell * _oscillator(_log_uniform(rng, 200, 4000), n)


def chirp(rng: Rng, n: int) -> np.ndarray:
    low = _log_uniform(rng, 200, 1200)
    octaves = rng.uniform(1.5, 3.0)
    sweep = (_time(n) * rng.uniform(0.7, 3.0)) % 1.0
    if rng.random() < 0.5:
        sweep = 1 - sweep
    return _oscillator(low * 2 ** (octaves * sweep), n)


def noise_bursts(rng: Rng, n: int) -> np.ndarray:
    length = int(RATE * rng.uniform(0.05, 0.2))
    decay = np.exp(-np.arange(length) / length * rng.uniform(0.5, 3))

    def burst(m: int) -> np.ndarray:
        return rng.standard_normal(m) * decay[:m]

    return _at_onsets(_onsets(rng, n, rng.uniform(1.5, 5)), burst, n, length)


def am_hum(rng: Rng, n: int) -> np.ndarray:
    base = rng.uniform(50, 130)
    hum = np.sum([_oscillator(base * k, n, rng.uniform(0, 6)) / k for k in (1, 2, 3, 4, 6)], axis=0)
    return (1 + rng.uniform(0.6, 1.0) * _oscillator(rng.uniform(4, 14), n)) * hum


def clicks(rng: Rng, n: int) -> np.ndarray:
    ring = _log_uniform(rng, 1500, 6000)
    decay = rng.uniform(0.001, 0.005)

    def tick(m: int) -> np.ndarray:
        return _oscillator(ring, m) * np.exp(-_time(m) / decay)

    return _at_onsets(_onsets(rng, n, rng.uniform(3, 12)), tick, n, int(RATE * 8 * decay))


def fm_warble(rng: Rng, n: int) -> np.ndarray:
    carrier = _log_uniform(rng, 400, 3500)
    return _oscillator(carrier * (1 + rng.uniform(0.08, 0.3) * _oscillator(rng.uniform(4, 14), n)), n)


def _all_pole(feedback: ArrayLike, x: np.ndarray) -> np.ndarray:
    """``x`` through the filter 1 / (feedback[0] + feedback[1] z^-1 + …)."""
    from scipy.signal import lfilter  # takes half a second, which every worker would spend

    filtered: np.ndarray = lfilter([1.0], feedback, x)
    return filtered


def plucked_string(rng: Rng, n: int) -> np.ndarray:
    """Karplus and Strong 1983, *Digital Synthesis of Plucked-String and Drum Timbres*."""
    length = int(RATE * 0.8)

    def pluck(m: int) -> np.ndarray:
        delay = int(RATE / _log_uniform(rng, 110, 700))
        excitation = np.zeros(m)
        excitation[: min(delay, m)] = rng.uniform(-1, 1, min(delay, m))
        feedback = np.zeros(delay + 2)
        feedback[0], feedback[delay:] = 1.0, -0.498
        return _all_pole(feedback, excitation)

    return _at_onsets(_onsets(rng, n, rng.uniform(1.5, 4)), pluck, n, length)


def harmonic_stack(rng: Rng, n: int) -> np.ndarray:
    base = _log_uniform(rng, 140, 700)
    drift = base * (1 + 0.01 * _oscillator(rng.uniform(0.3, 1), n))
    count = int(rng.integers(6, 13))
    return np.sum([_oscillator(drift * k, n, rng.uniform(0, 6)) / k for k in range(1, count + 1)], axis=0)


def wind(rng: Rng, n: int) -> np.ndarray:
    centre, width = _log_uniform(rng, 250, 1200), rng.uniform(0.3, 0.8)
    radius = np.exp(-np.pi * centre * width / RATE)  # a resonator: two poles at centre Hz
    poles = [1.0, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2]
    gusts = 1 + rng.uniform(0.5, 0.9) * _oscillator(rng.uniform(0.3, 1.2), n, rng.uniform(0, 6))
    return gusts * _all_pole(poles, rng.standard_normal(n))


def bell(rng: Rng, n: int) -> np.ndarray:
    base, length = _log_uniform(rng, 250, 900), int(RATE * 1.5)
    ratios = np.array([0.5, 1.0, 1.183, 1.506, 2.0, 2.514, 2.662, 3.011])  # a church bell's partials
    ratios *= rng.uniform(0.98, 1.02, len(ratios))
    decays = rng.uniform(0.25, 0.6) / np.sqrt(ratios)  # s

    def strike(m: int) -> np.ndarray:
        partials = [
            _oscillator(base * ratio, m) * np.exp(-_time(m) / decay) / np.sqrt(ratio)
            for ratio, decay in zip(ratios, decays, strict=True)
        ]
        return np.sum(partials, axis=0)

    return _at_onsets(_onsets(rng, n, rng.uniform(0.7, 2)), strike, n, length)


#: Class name → synthesiser; class order is the order of the sample submission.
KINDS: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "AM_hum": am_hum,
    "Bell": bell,
    "Chirp": chirp,
    "Clicks": clicks,
    "FM_warble": fm_warble,
    "Harmonic_stack": harmonic_stack,
    "Noise_bursts": noise_bursts,
    "Plucked_string": plucked_string,
    "Sine_tone": sine_tone,
    "Wind": wind,
}
CLASSES = tuple(KINDS)


def _unit(wave: np.ndarray) -> np.ndarray:
    return wave / max(float(np.sqrt(np.mean(np.square(wave)))), 1e-9)


def synthesise(rng: Rng, labels: list[str]) -> np.ndarray:
    """One clip of 0.4 to 3 s with these sounds in it, int16 (n,) at ``RATE``."""
    n = int(RATE * _log_uniform(rng, 0.4, 3.0))
    wave = np.zeros(n)
    for label in labels:
        length = int(n * rng.uniform(0.5, 1.0))
        start = int(rng.integers(0, n - length + 1))
        fade = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.005 * RATE))
        wave[start : start + length] += 10 ** (rng.uniform(-6, 6) / 20) * _unit(KINDS[label](rng, length)) * fade
    colour = rng.uniform(0, 0.97)  # of the background: white to brown
    background = _unit(_all_pole([1.0, -colour], rng.standard_normal(n)))
    wave = _unit(wave) + 10 ** (-rng.uniform(-3, 20) / 20) * background
    return np.round(wave * (32767 * rng.uniform(0.1, 0.95) / np.abs(wave).max())).astype(np.int16)


def _draw_labels(rng: Rng, first: str) -> list[str]:
    others = [name for name in CLASSES if name != first]
    count = int(rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1]))
    return sorted([first, *rng.choice(others, size=count, replace=False).tolist()])


def _corrupt(rng: Rng, labels: list[str]) -> list[str]:
    """Other labels than the true ones, as many."""
    others = [name for name in CLASSES if name not in labels]
    return sorted(rng.choice(others, size=len(labels), replace=False).tolist())


def _write_subset(folder: Path, key: int, count: int) -> pd.DataFrame:
    """Write ``count`` WAV files; columns fname, labels (true ones), given (perhaps wrong ones), fold."""
    folder.mkdir()
    names = generator(_SEED, key).choice(2**32, size=count, replace=False)
    rows = []
    for i in range(count):
        rng = generator(_SEED, key, i)
        labels = _draw_labels(rng, CLASSES[i % len(CLASSES)])
        given = _corrupt(rng, labels) if rng.random() < WRONG_LABELS else labels
        fname = f"{names[i]:08x}.wav"
        soundfile.write(folder / fname, synthesise(rng, labels), RATE, subtype="PCM_16")
        rows.append((fname, ",".join(labels), ",".join(given), (i // len(CLASSES)) % N_FOLDS))
    return pd.DataFrame(rows, columns=["fname", "labels", "given", "fold"]).sort_values("fname")


def _build(directory: Path) -> None:
    curated = _write_subset(directory / "train_curated", 0, CURATED)
    noisy = _write_subset(directory / "train_noisy", 1, NOISY)
    test = _write_subset(directory / "test", 2, TEST)
    (directory / "truth").mkdir()
    curated[["fname", "labels", "fold"]].to_csv(directory / "train_curated.csv", index=False)
    noisy[["fname", "given"]].set_axis(["fname", "labels"], axis=1).to_csv(
        directory / "train_noisy.csv", index=False
    )
    submission = pd.DataFrame(0.0, index=pd.Index(test["fname"], name="fname"), columns=list(CLASSES))
    submission.to_csv(directory / "sample_submission.csv")
    noisy[["fname", "labels"]].to_csv(directory / "truth" / "train_noisy.csv", index=False)
    test[["fname", "labels"]].to_csv(directory / "truth" / "test.csv", index=False)
    (directory / _MARKER).write_text(json.dumps({"demo_version": VERSION}) + "\n")


def _version(directory: Path) -> int | None:
    """Version of the demo in a folder, None where there is none; it is written before the folder gets its name."""
    try:
        return int(json.loads((directory / _MARKER).read_text())["demo_version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_demo(directory: str | os.PathLike[str]) -> Path:
    """Build the demo dataset in ``directory``, or find it there.

    160 curated clips with a column ``fold`` (4 folds), 120 noisy clips of which half have wrong labels, 80 test
    clips, all 16-bit WAV at 44.1 kHz; what a competitor does not see is in ``truth/``. The same sounds in every
    build. The folder gets its name only when it is complete, so a killed build is never taken for one.

    Returns
    -------
    Path
        The dataset folder, absolute.

    Raises
    ------
    DatasetError
        The folder exists and is something else; it is left alone.
    """
    target = Path(os.path.abspath(directory))
    found = _version(target)
    if found == VERSION:
        return target
    if found is None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{target} exists and is no demo dataset; remove it or name another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.*.tmp"):
        if time.time() - stale.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(stale, ignore_errors=True)
    building = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    building.mkdir()
    try:
        _build(building)
        if found is not None:
            shutil.rmtree(target)
        try:
            building.rename(target)
        except OSError:
            if _version(target) != VERSION:  # else another process was faster, with the same files
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target
