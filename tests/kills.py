"""A launch whose driver is killed again and again: what the run holds in the end is that of an undisturbed one.

    python -m tests.kills --kills 50                      # --stopping none: equal to the bit
    python -m tests.kills --kills 20 --stopping paired    # every decision follows from the facts before it

Each launch gets ``kill -9`` after a random time; what it started is left to notice by itself, as after a real kill.
The next launch goes on with the same command. Prints what each kill interrupted, and what is different in the end.

What tests need to kill a launch at a moment of their choice stands here too.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from raytag.search.race.replay import check
from raytag.store.events import read_log
from raytag.store.files import Storage
from raytag.store.run import RunStore
from tests.cli import SMALL, run, start
from tests.recordings import make_folder

NAME = "kills"


def fold_files(work: Path, pattern: str) -> list[Path]:
    return sorted((work / "runs").glob(f"*/experiments/*/fold_*/{pattern}"))


def begun(work: Path) -> set[Path]:
    """Unfinished folds with a checkpoint; finished ones may keep theirs."""
    parents = [{f.parent for f in fold_files(work, name)} for name in ("checkpoint-?.json", "result.json")]
    return parents[0] - parents[1]


def wait_for(condition, what: str, seconds: float = 120):
    """What the condition gives, once it is true."""
    for _ in range(int(seconds / 0.05)):
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def ray_workers(driver: int, words: str = "") -> list[psutil.Process]:
    """Ray's workers of a driver; those whose title has the words."""
    found = []
    for child in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            title = " ".join(child.cmdline())
            found += [child] * ("ray::" in title and words in title)
    return found


def caught_between(driver: int, work: Path) -> list[psutil.Process]:
    """All workers, frozen where one fold is finished and another has a checkpoint; else none.

    Unfrozen, they would go on until they notice that their driver is gone, and may finish the fold by then.
    """
    workers = ray_workers(driver)
    for worker in workers:
        worker.suspend()
    if fold_files(work, "result.json") and begun(work):
        return workers
    for worker in workers:
        worker.resume()
    return []


def predictions(work: Path) -> dict[str, bytes]:
    """Every table of predictions of a run, by name."""
    folder = work / "runs" / NAME
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("experiments/*/fold_*/*.parquet"))
    }


def moment(work: Path, printed: str) -> str:
    """What a launch was at when it was killed, as its log and its words tell."""
    if "Run kills:" in printed:
        return "training"
    if "features:" in printed:
        return "features and plan"
    return "reading and starting Ray" if "clips" in printed else "imports"


def main() -> int:
    """Kill, go on, compare; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stopping", default="none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=40.0, help="most seconds until a launch is killed")
    parser.add_argument("--experiments", type=int, help="of the run; by default three a kill, so that it lasts")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = make_folder(work / "recordings", clips=36, folds=3)
        experiments = str(options.experiments or 3 * options.kills)
        command = [
            "--data",
            data,
            "--run",
            NAME,
            "--num-samples",
            experiments,
            "--epochs",
            "8",
            "--keep",
            "2",
            *SMALL,
        ]
        command += ["--stopping", options.stopping, "--set", "sampling.samples_per_epoch=48", "--seed", "3"]
        command += ["--checkpoint-seconds", "1"]
        broken = work / "killed"
        broken.mkdir()
        killed: collections.Counter[str] = collections.Counter()
        started, ended = time.monotonic(), False
        while sum(killed.values()) < options.kills and not ended:
            process = start("launch.py", *command, cwd=broken)
            try:
                printed, _ = process.communicate(timeout=rng.uniform(0.5, options.longest))
                ended = process.returncode == 0
                if not ended:
                    print(f"a launch ended with {process.returncode}:\n{printed}")
                    return 1
            except subprocess.TimeoutExpired as error:
                process.kill()
                printed, _ = process.communicate()
                killed[moment(broken, printed or str(error.output or ""))] += 1
                if "Traceback" in printed:
                    print(f"a traceback:\n{printed}")
                    return 1
        total, seconds = sum(killed.values()), time.monotonic() - started
        moments = ", ".join(f"{count} while {what}" for what, count in killed.most_common())
        print(f"{total} kills in {seconds:.0f} s{' and an end' * ended}: {moments}", flush=True)
        code, printed = run("launch.py", *command, cwd=broken, timeout=900)
        assert code == 0, printed
        events, damage = read_log(Storage(str(broken / "runs" / NAME)))
        (key,) = {e["key"] for e in events if e["event"] == "race"}
        decisions, wrong = check(events, key)
        folds = collections.Counter((e["experiment"], e["fold"]) for e in events if e["event"] == "fold")
        print(f"{len(decisions)} decisions, {len(wrong)} not explained; {sum(folds.values())} folds finished")
        failed = bool(wrong or damage or max(folds.values()) > 1)
        if options.stopping == "none":
            whole = work / "whole"
            whole.mkdir()
            code, printed = run("launch.py", *command, cwd=whole, timeout=900)
            assert code == 0, printed
            found, expected = predictions(broken), predictions(whole)
            same = sum(found.get(name) == content for name, content in expected.items())
            print(f"{same} of {len(expected)} tables of predictions are equal to the bit")
            failed |= found != expected
        else:
            store = RunStore(str(broken / "runs"), NAME)
            dropped = {d["experiment"] for d in decisions if d["event"] == "drop"}
            print(f"{len(store.complete())} experiments complete, {len(dropped)} dropped")
            failed |= bool(set(store.experiments()) - dropped - set(store.complete()))
        return int(failed)


if __name__ == "__main__":
    sys.exit(main())
