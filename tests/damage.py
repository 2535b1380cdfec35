"""Random damage to a run and its cache: what becomes of it, counted.

    python -m tests.damage --draws 2000

A small run is made: finished folds, an unfinished one with two checkpoints, an ensemble, its cache. Then, for each
draw, a copy of it gets one fault: a bit of a file is flipped, its end is cut off, or it is deleted. The launch that
made the run is repeated, then ``raytag score`` and ``raytag verify`` read it. Afterwards every prediction, weight
and score has to be that of an undisturbed run, to the bit, or the fault has to be named. Trials train in this
process, not in Ray's workers, which changes none of what is read and written.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

from tests.cli import REPOSITORY, SMALL
from tests.recordings import make_folder

RUN, STUCK = "damage", 60.0
KINDS = ("flip", "cut", "delete")
#: Written for people, read by no command.
UNREAD = (
    "leaderboard.csv",
    "sizes.png",
    "sizes.csv",
    "stackers.csv",
    "subsets.parquet",
    "submission.csv",
    "log.txt",
)


def train_here(driver: Any, shared: Any, *_: Any, waiting: int = 0, steps: int | None = None) -> None:
    """What the tuner does, without workers; the last trial is interrupted after ``steps``, if that is given."""
    from raytag.search.trial import open_bank
    from raytag.store.run import RunStore
    from raytag.train.fold import train_fold

    while (trial := driver.next_trial(name := f"t{len(driver.trials)}")) is not None:
        driver.on_start(name)
        last = steps is not None and sum(map(len, driver.store.incomplete().values())) == 1
        left = [steps if last else 10**9]

        def should_stop(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        def report(progress: Any, name: str = name) -> None:
            driver.on_epoch(name, asdict(progress))

        fold = RunStore(shared.runs_dir, shared.run).fold(trial.experiment.id, trial.fold)
        outcome = train_fold(
            trial.experiment,
            trial.fold,
            shared.table,
            open_bank(shared, trial.experiment.features),
            fold,
            checkpoint_seconds=0.0,
            report=report,
            should_stop=should_stop,
        )
        driver.on_end(name, outcome.state, outcome.result or {})
        if outcome.state == "interrupted":
            driver.interrupt()


def command(script: str, *arguments: str, steps: int | None = None) -> tuple[int, str]:
    """Exit code and output of a command in this process; 70 for an error that is not explained."""
    output = io.StringIO()

    def train(*given: Any, **options: Any) -> None:
        train_here(*given, **options, steps=steps)

    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        mock.patch.object(sys, "argv", [script, *arguments]),
        mock.patch("raytag.search.command.run", train),
    ):
        try:
            if script == "raytag":
                from raytag.cli import main

                return main(list(arguments)), output.getvalue()
            sys.path.insert(0, str(REPOSITORY))
            main = __import__(script.removesuffix(".py")).main
            return int(main() or 0), output.getvalue()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
            return code, output.getvalue()
        except Exception as error:
            import traceback

            return 70, output.getvalue() + f"{type(error).__name__}: {error}\n{traceback.format_exc()}"


class World:
    """The run to be damaged, and how it ends undisturbed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        make_folder(root / "recordings", clips=12)
        self.launch = ["--data", "recordings", "--run", RUN, "--num-samples", "2", "--stopping", "none", *SMALL]
        self.launch += ["--epochs", "2", "--set", "sampling.samples_per_epoch=12", "--max-bad-share", "0.9"]
        os.chdir(root)
        code, output = command("launch.py", *self.launch, "--num-samples", "1")
        assert code == 0, output
        code, output = command("ensemble_search.py", "--run", RUN, "--name", "first", "--stackers", "0")
        assert code == 0, output
        for steps in (2, 2):  # two checkpoints
            code, output = command("launch.py", *self.launch, steps=steps)
            assert code == 130, output
        shutil.copytree(root / "runs", root / "kept" / "runs")
        shutil.copytree(root / "cache", root / "kept" / "cache")
        self.files = sorted(str(p.relative_to(root / "kept")) for p in (root / "kept").rglob("*") if p.is_file())
        self.outcome = self.go()
        assert self.outcome["codes"] == (0, 0, 0), self.outcome["output"]

    def go(self) -> dict[str, Any]:
        """Launch, score and verify the run; what they say, and what the run holds then."""
        launched, said = command("launch.py", *self.launch)
        scored, scores = command("raytag", "score", RUN, "--json")
        verified, report = command("raytag", "verify", RUN, "--cache")
        folder = Path("runs") / RUN
        held = {}
        for path in sorted(folder.glob("experiments/*/fold_*/*")):
            if path.name in ("oof.parquet", "test.parquet", "weights.safetensors"):
                held[str(path.relative_to(folder))] = path.read_bytes()
        found: dict[str, Any] = {
            "codes": (launched, scored, verified),
            "held": held,
            "output": said + scores + report,
        }
        with contextlib.suppress(ValueError):
            found["scores"] = [
                (row["name"], row["lwlrap"]) for row in json.loads(scores[scores.index("{") :])["scores"]
            ]
        return found

    def restore(self) -> None:
        for name in ("runs", "cache"):
            shutil.rmtree(self.root / name, ignore_errors=True)
            shutil.copytree(self.root / "kept" / name, self.root / name)

    def damage(self, kind: str, name: str, rng: random.Random) -> str:
        """Do it; what was done, in words."""
        path = self.root / name
        data = bytearray(path.read_bytes())
        if kind == "delete" or not data:
            path.unlink()
            return "deleted"
        position = rng.randrange(len(data))
        if kind == "cut":
            path.write_bytes(data[:position])
            return f"cut at {position} of {len(data)}"
        bit = rng.randrange(8)
        data[position] ^= 1 << bit
        status = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # a bit that rots does not change the time
        return f"bit {bit} of byte {position}"

    def judge(self, name: str, found: dict[str, Any]) -> str:
        """What became of a fault; a word that begins with ! is a failure."""
        output, good = found["output"], self.outcome
        if "Traceback" in output or 70 in found["codes"]:
            return "!traceback"
        short = Path(name).name
        named = short in output or Path(name).parent.name in output
        same = found["held"] == good["held"] and found.get("scores") == good["scores"]
        launched, scored, verified = found["codes"]
        if launched == 2:
            return "refused with a sentence" if named else "!refused without a name"
        if launched:
            return "!failed"
        if same and verified == 0:
            if (self.root / name).exists() and (self.root / name).read_bytes() == self.before:
                return "as it was again" if named else "as it was again, without a word"
            return "made good, and said" if named else "of no consequence"
        if verified == 1 and named:
            return "named by verify"
        if scored == 2 and named:
            return "refused by score"
        return "!believed"

    def draw(self, number: int) -> tuple[str, str, str, str, str]:
        """One fault: file, kind, what was done, what became of it, output."""
        rng = random.Random(number)
        self.restore()
        name, kind = rng.choice(self.files), rng.choice(KINDS)
        self.before = (self.root / name).read_bytes()
        what = self.damage(kind, name, rng)
        started = time.monotonic()
        faulthandler.dump_traceback_later(STUCK, exit=True)
        found = self.go()
        faulthandler.cancel_dump_traceback_later()
        verdict = self.judge(name, found)
        if verdict == "of no consequence" and Path(name).name not in UNREAD:
            verdict = "of no consequence: " + _kind_of(name)
        return name, kind, f"{what}, {time.monotonic() - started:.1f} s", verdict, found["output"]


def _kind_of(name: str) -> str:
    """``experiments/…/oof.parquet`` → ``oof.parquet``; shards and segments have names of their own."""
    path = Path(name)
    return f"{path.parent.name}/*{path.suffix}" if path.parent.name in ("shards", "events") else path.name


def main(arguments: list[str] | None = None) -> int:
    """Draw, print what failed and the table; 1 if anything was believed, got stuck or ended in a traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--verbose", action="store_true", help="print every draw")
    options = parser.parse_args(arguments)
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    verdicts: collections.Counter[str] = collections.Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        started = time.monotonic()
        for number in range(options.first, options.first + options.draws):
            name, kind, what, verdict, output = world.draw(number)
            counts[_kind_of(name), kind] += 1
            verdicts[f"{kind}: {verdict}"] += 1
            if verdict.startswith("!"):
                failed += 1
                print(f"draw {number}: {name}, {what}: {verdict}\n{output}", flush=True)
            elif options.verbose:
                print(f"draw {number}: {name}, {what}: {verdict}", flush=True)
            if number % 100 == 99:
                print(f"{number + 1 - options.first} draws, {time.monotonic() - started:.0f} s", flush=True)
        os.chdir("/")
    print(f"\n{sum(counts.values())} faults in {len(world.files)} files of {len({k for k, _ in counts})} kinds")
    for verdict, count in sorted(verdicts.items()):
        print(f"  {count:5d}  {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
