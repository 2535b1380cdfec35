"""Small labelled recordings for tests: classes that a tiny network tells apart in seconds."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

RATE = 44100


def sound(label: str, rng: np.random.Generator, seconds: float = 0.6, rate: int = RATE) -> np.ndarray:
    """int16 samples: ``tone`` is a sine of random pitch, ``noise`` white noise, ``clicks`` sparse impulses."""
    t = np.arange(int(seconds * rate)) / rate
    if label == "tone":
        x = np.sin(2 * np.pi * rng.uniform(300, 3000) * t)
    elif label == "noise":
        x = rng.normal(0, 0.3, len(t))
    else:
        x = np.zeros(len(t))
        x[rng.integers(0, len(t), 30)] = 1.0
    x = x + rng.normal(0, 0.01, len(t))
    return (np.clip(x, -1, 1) * 12000).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def make_folder(directory: Path, *, clips: int = 24, folds: int = 2, test: int = 4) -> Path:
    """An FSDKaggle2019 folder: curated clips with folds, a few noisy and test clips."""
    rng = np.random.default_rng(0)
    labels = ["clicks", "noise", "tone"]
    rows = {"train_curated": ["fname,labels,fold"], "train_noisy": ["fname,labels"]}
    for i in range(clips):
        label = labels[i % 3]
        write_wav(directory / "train_curated" / f"c{i:03d}.wav", sound(label, rng, rng.uniform(0.5, 0.9)))
        rows["train_curated"].append(f"c{i:03d}.wav,{label},{i // 3 % folds}")
    for i in range(6):
        write_wav(directory / "train_noisy" / f"n{i}.wav", sound(labels[i % 3], rng))
        rows["train_noisy"].append(f'n{i}.wav,"{labels[i % 3]},{labels[(i + 1) % 3]}"')
    for name, lines in rows.items():
        (directory / f"{name}.csv").write_text("\n".join(lines) + "\n")
    submission = ["fname," + ",".join(labels)]
    for i in reversed(range(test)):  # an order of its own, as competitions have
        write_wav(directory / "test" / f"t{i}.wav", sound(labels[i % 3], rng))
        submission.append(f"t{i}.wav,0,0,0")
    (directory / "sample_submission.csv").write_text("\n".join(submission) + "\n")
    return directory


def make_plain_folder(directory: Path, *, clips: int = 12, rate: int = 8000) -> Path:
    """One CSV beside its recordings: two classes, no folds, no noisy and no test clips."""
    rng = np.random.default_rng(0)
    lines = ["fname,labels"]
    for i in range(clips):
        label = ("noise", "tone")[i % 2]
        write_wav(directory / "audio" / f"{i:02d}.wav", sound(label, rng, rng.uniform(0.5, 0.9), rate), rate)
        lines.append(f"{i:02d}.wav,{label}")
    (directory / "labels.csv").write_text("\n".join(lines) + "\n")
    return directory
