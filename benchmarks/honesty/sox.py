#!/usr/bin/env python3
"""Effects beside those of SoX, by which ex4sperans made its training samples.

    python benchmarks/honesty/sox.py            # apt-get install sox

Of a click the reverberation, left and right averaged: the largest difference, and by how much its level is off. Of
a sine of 1 kHz the first seven harmonics after overdrive, of sines of 100 Hz to 18 kHz their levels at another
speed: by how much the worst is off. Only what is above -120 dB counts.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess

import numpy as np
from rich import box
from rich.table import Table

from raytag.console import make_console
from raytag.inputs.waveforms.effects.levels import overdriven
from raytag.inputs.waveforms.effects.reverb import reverberated
from raytag.inputs.waveforms.effects.stretch import at_speed

RATE, SECONDS = 44100, 2
TIMES = np.arange(SECONDS * RATE) / RATE
LEAST = 1e-6  # -120 dB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    if shutil.which("sox") is None:
        parser.error("the comparison needs SoX: apt-get install sox")
    table = Table("effect", "settings", "largest difference", "level, dB", box=box.MARKDOWN)
    click = np.zeros(SECONDS * RATE, np.float32)
    click[100] = 0.5
    for percent, room, depth in ((0, 0, 0), (25, 25, 25), (49, 49, 49), (49, 0, 20), (0, 49, 20)):
        theirs = by_sox(click, "reverb", percent, 50, room, depth, 20, 0) - click
        ours = reverberated(click, RATE, percent, room, stereo_depth=depth) - click
        settings = f"reverberance {percent}, room {room}, stereo depth {depth}"
        loudness = decibels(np.sqrt(np.sum(np.square([ours, theirs], dtype=np.float64), axis=1)))
        table.add_row("reverb", settings, f"{np.abs(ours - theirs).max():.1e}", f"{loudness[0] - loudness[1]:+.2f}")
    sine = (0.5 * np.sin(2 * np.pi * 1000 * TIMES)).astype(np.float32)
    for gain in (2, 5, 9):
        found = [harmonics(sound, 1000) for sound in (overdriven(sine, gain), by_sox(sine, "overdrive", gain, 20))]
        table.add_row("overdrive", f"{gain} dB, harmonics of 1 kHz", "", worst(*found))
    tones = (100, 1000, 5000, 10000, 15000, 18000)
    for factor in (0.9, 1.1):
        levels = []
        for tone in tones:
            sine = (0.5 * np.sin(2 * np.pi * tone * TIMES)).astype(np.float32)
            sounds = at_speed(sine, RATE, factor), by_sox(sine, "speed", factor)
            levels.append([harmonics(sound, tone * factor, 1)[0] for sound in sounds])
        table.add_row("speed", f"{factor}, tones of 100 Hz to 18 kHz", "", worst(*np.array(levels).T))
    console = make_console()
    console.print(table)


def by_sox(samples: np.ndarray, *effects: object) -> np.ndarray:
    raw = ["-t", "raw", "-r", str(RATE), "-e", "float", "-b", "32", "-c", "1", "-"]
    command = ["sox", "-V1", *raw, *raw, *map(str, effects)]  # two channels become their mean
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)[: len(samples)]


def harmonics(samples: np.ndarray, tone: float, number: int = 7) -> np.ndarray:
    """Amplitudes of a tone's multiples in the second half, (number,)."""
    sound = samples[len(samples) // 2 :].astype(np.float64)
    window = np.hanning(len(sound))
    t = np.arange(len(sound)) / RATE
    multiples = np.arange(1, number + 1)[:, None] * tone
    found: np.ndarray = np.abs((np.exp(-2j * np.pi * multiples * t) * window * sound).sum(1)) * 2 / window.sum()
    return found


def worst(ours: np.ndarray, theirs: np.ndarray) -> str:
    heard = np.maximum(ours, theirs) > LEAST
    return f"{np.abs(decibels(ours[heard]) - decibels(theirs[heard])).max():.3f}"


def decibels(amplitudes: np.ndarray) -> np.ndarray:
    found: np.ndarray = 20 * np.log10(np.maximum(amplitudes, LEAST))
    return found


if __name__ == "__main__":
    main()
