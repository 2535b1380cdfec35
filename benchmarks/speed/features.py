"""Log-mel extraction against librosa, hashes of recordings, and the feature cache on one and two workers.

    python benchmarks/speed/features.py --data DIR [--clips 60] [--json PATH]
    python benchmarks/speed/features.py --data DIR --workers [--build-clips 6000]

DIR is a folder of recordings. Files that are no WAV are also written as 16-bit WAV to a temporary folder, the
format of FSDKaggle2019, so that the decoder of a compressed format does not drown the rest.

The first form runs on one thread and compares with what a script around librosa would do: ``librosa.load``,
``librosa.effects.trim``, ``librosa.feature.melspectrogram``, ``librosa.power_to_db``; what else a clip costs, its
hash or a variant, is timed beside it. The second builds a fresh cache with Ray on one and two CPUs, workers warm,
sessions interleaved; it measures wall time.
"""

# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import argparse
import hashlib
import io
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import soundfile
from _timing import Row, add_json_argument, compare, machine, print_table, write_json
from rich import box
from rich.console import Console
from rich.table import Table

from raytag.datasets.table import ClipTable
from raytag.experiment import Features
from raytag.features import LogMel, extract, read_waveform
from raytag.features.sets.variants import varied
from raytag.store.digest import digest

FEATURES = Features()


def librosa_logmel(x: np.ndarray) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=x,
        sr=FEATURES.sample_rate,
        n_fft=FEATURES.n_fft,
        hop_length=FEATURES.hop_length,
        n_mels=FEATURES.n_mels,
        fmin=FEATURES.fmin,
        fmax=FEATURES.fmax,
    )
    return librosa.power_to_db(mel, top_db=FEATURES.top_db)


def librosa_extract(path: Path) -> np.ndarray:
    x, _ = librosa.load(path, sr=FEATURES.sample_rate)
    x, _ = librosa.effects.trim(x, top_db=FEATURES.trim_db)
    return librosa_logmel(x)


def recordings(directory: Path) -> list[Path]:
    """Audio files below a folder, sorted."""
    suffixes = {".wav", ".ogg", ".flac", ".mp3"}
    files = sorted(path for path in directory.rglob("*") if path.suffix.lower() in suffixes)
    if not files:
        raise SystemExit(f"no recordings ({', '.join(sorted(suffixes))}) below {directory}")
    return files


def as_wav(files: list[Path], directory: Path) -> list[Path]:
    """The same recordings as 16-bit WAV."""
    converted = []
    for i, path in enumerate(files):
        x, rate = soundfile.read(path, dtype="float32")
        converted.append(directory / f"{i:05d}-{path.stem}.wav")
        soundfile.write(converted[-1], x, rate, subtype="PCM_16")
    return converted


def extraction(files: list[Path], wavs: list[Path], rounds: int) -> dict[str, list[Row]]:
    """Both paths over the same clips; the numbers must agree before their times are worth a look."""
    logmel = LogMel()
    waveforms = [read_waveform(path) for path in wavs]
    frames = [logmel.frames(x.size) for x in waveforms]
    differences = np.concatenate([np.abs(logmel(x) - librosa_logmel(x)).ravel() for x in waveforms])
    print(
        f"{len(wavs)} clips, {np.mean(frames):.0f} frames on average after the trim; difference to librosa "
        f"{np.sqrt(np.mean(differences**2)):.1e} dB rms, {differences.max():.1e} dB at most"
    )

    def each(function: Any, items: list[Any]) -> Any:
        return lambda: [function(item) for item in items]

    def versus(ours: Any, theirs: Any, items: list[Any]) -> list[Row]:
        candidates = {"librosa": each(theirs, items), "raytag": each(ours, items)}
        return compare(candidates, rounds=rounds, baseline="librosa", per=len(items), unit="clips")

    def whole(path: Path) -> np.ndarray:
        return extract(path, FEATURES)

    tables = {
        "log-mel only, one thread": versus(logmel, librosa_logmel, waveforms),
        "whole extraction from 16-bit WAV, one thread": versus(whole, librosa_extract, wavs),
    }
    formats = sorted({path.suffix.lower() for path in files} - {".wav"})
    if formats:
        title = f"whole extraction from {', '.join(formats)}, one thread"
        tables[title] = versus(whole, librosa_extract, files)
    tables["content of 16-bit WAV, one thread"] = hashes(wavs, rounds)
    tables["a variant of a second of sound, one thread"] = variants(waveforms, rounds)
    for title, rows in tables.items():
        print_table(title, rows)
    return tables


def variants(waveforms: list[np.ndarray], rounds: int) -> list[Row]:
    """What a variant costs before its log-mel is computed, against the log-mel itself."""
    candidates: dict[str, Any] = {"log-mel": lambda: [LogMel()(x) for x in waveforms]}
    for name in Features(variants="pitch:+2,stretch:0.9,speed:1.1").variants:
        candidates[name] = lambda v=name: [varied(x, FEATURES.sample_rate, v, "") for x in waveforms]
    seconds = sum(x.size for x in waveforms) / FEATURES.sample_rate
    return compare(candidates, rounds=rounds, per=seconds, unit="s of sound")


def hashes(wavs: list[Path], rounds: int) -> list[Row]:
    """What tells that a recording has changed, in MB/s of files that are in memory."""
    contents = [path.read_bytes() for path in wavs]
    functions: dict[str, Any] = {
        "BLAKE2b-128": lambda data: hashlib.blake2b(data, digest_size=16).hexdigest(),
        "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
        "XXH3-128 (raytag)": digest,
    }
    candidates = {name: lambda f=function: [f(data) for data in contents] for name, function in functions.items()}
    return compare(candidates, rounds=rounds, per=sum(map(len, contents)) / 1e6, unit="MB")


def clip_table(files: list[Path], clips: int) -> ClipTable:
    """So many clips over the files, again and again under new ids."""
    durations = [soundfile.info(path).duration for path in files]
    rows = [
        {"clip": f"{i // len(files)}/{files[i % len(files)].name}", "path": str(files[i % len(files)])}
        | {"duration": durations[i % len(files)], "fname": files[i % len(files)].name}
        for i in range(clips)
    ]
    rest = {"labels": "a", "subset": "curated", "fold": 0, "group": "", "rate": 44100}
    return ClipTable(pd.DataFrame(rows).assign(**rest), ("a",), files[0].parent, "benchmark")


def workers(files: list[Path], clips: int, builds: int, sessions: int) -> list[dict[str, Any]]:
    """Build a fresh cache on one and on two CPUs."""
    import ray

    from raytag.features.cache import build_cache

    table = clip_table(files, clips)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    pids: dict[int, set[str]] = {1: set(), 2: set()}
    quiet = Console(file=io.StringIO())
    with tempfile.TemporaryDirectory(prefix="raytag-benchmark-") as folder:
        for _ in range(sessions):
            for cpus in (1, 2):
                ray.init("local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)
                for i in range(1 + builds):
                    manifest = build_cache(table, FEATURES, f"{folder}/cache", console=quiet, max_bad_share=1)
                    if i:  # the first starts the workers and loads their code
                        seconds[cpus].append(manifest.seconds)
                        pids[cpus] |= manifest.workers
                    shutil.rmtree(f"{folder}/cache")
                ray.shutdown()
    return [
        {
            "cpus": cpus,
            "clips": clips,
            "seconds": statistics.median(seconds[cpus]),
            "range": [min(seconds[cpus]), max(seconds[cpus])],
            "clips_per_second": clips / statistics.median(seconds[cpus]),
            "clips_per_second_and_cpu": clips / statistics.median(seconds[cpus]) / cpus,
            "speedup": statistics.median(seconds[1]) / statistics.median(seconds[cpus]),
            "workers": sorted(pids[cpus]),
        }
        for cpus in (1, 2)
    ]


def print_workers(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", box=box.MARKDOWN)
    columns = ("CPUs", "clips", "s", "range", "clips/s", "clips/s per CPU", "speedup")
    for name in (*columns, "workers (host:pid, all sessions)"):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["range"]
        table.add_row(
            *(str(row["cpus"]), str(row["clips"]), f"{row['seconds']:.2f}", f"{low:.2f}–{high:.2f}"),
            *(f"{row['clips_per_second']:.0f}", f"{row['clips_per_second_and_cpu']:.0f}"),
            *(f"{row['speedup']:.2f}x", ", ".join(row["workers"])),
        )
    Console(width=160).print(table)
    print(machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of recordings")
    parser.add_argument("--clips", type=int, default=60, help="recordings to take, spread over the folder")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", action="store_true", help="build caches with Ray on one and two CPUs")
    parser.add_argument("--build-clips", type=int, default=6000, help="--workers: clips of a build, from WAV")
    parser.add_argument("--builds", type=int, default=3, help="--workers: timed builds of a session")
    parser.add_argument("--sessions", type=int, default=2, help="--workers: sessions for each number of CPUs")
    add_json_argument(parser)
    arguments = parser.parse_args()
    files = recordings(arguments.data)
    files = files[:: max(1, len(files) // arguments.clips)][: arguments.clips]
    tables: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="raytag-benchmark-") as folder:
        wavs = as_wav(files, Path(folder))
        if not arguments.workers:
            tables = extraction(files, wavs, arguments.rounds)
        else:
            runs = {"16-bit WAV": (wavs, arguments.build_clips)}
            formats = sorted({path.suffix.lower() for path in files} - {".wav"})
            if formats:
                runs[", ".join(formats)] = (files, arguments.build_clips // 4)
            for name, (paths, clips) in runs.items():
                title = f"feature cache from {name}, fresh, warm workers"
                tables[title] = workers(paths, clips, arguments.builds, arguments.sessions)
                print_workers(title, tables[title])
    write_json(arguments.json, tables)


if __name__ == "__main__":
    main()
