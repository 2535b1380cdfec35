#!/usr/bin/env python3
"""All speed claims in one run, each side by side with what it is compared to.

    python benchmarks/run.py                    # everything; best on a quiet machine
    python benchmarks/run.py features augment   # some of them

Every script can also be run alone; its --help says what it measures.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDINGS = HERE.parents[1] / "shared" / "data" / "esc10" / "audio"


def recordings() -> Path:
    """Real recordings where they lie beside the checkout, else the built-in demo data."""
    if RECORDINGS.is_dir():
        return RECORDINGS
    from raytag.datasets.demo import make_demo

    return make_demo(HERE.parent / "data" / "demo") / "train_curated"


def commands() -> dict[str, list[list[str]]]:
    """Script → argument lists."""
    data = ["--data", str(recordings())]
    return {
        "start": [["--rounds", "1"]],
        "features": [data, [*data, "--workers"]],
        "augment": [[]],
        "train_step": [[]],
        "predict": [data],
        "lwlrap": [[]],
        "lsep": [[]],
        "subsets": [[], ["--task", "all"], ["--task", "thirty"]],
        "stackers": [[]],
        "waveforms": [[], ["--magnitudes"], ["--effects"]],
        **({"waveform_network": [[]]} if shutil.which("sox") else {}),
    }


def main() -> int:
    known = commands()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(known)}; all by default")
    names = parser.parse_args().names or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(known)}")
    failed = []
    for name in names:
        for arguments in known[name]:
            print(f"\n== python benchmarks/speed/{name}.py {' '.join(arguments)}", flush=True)
            started = time.monotonic()
            command = [sys.executable, str(HERE / "speed" / f"{name}.py"), *arguments]
            code = subprocess.run(command, check=False).returncode
            print(f"({time.monotonic() - started:.0f} s)", flush=True)
            failed += [name] * (code != 0)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
