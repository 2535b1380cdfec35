"""Launches with a network and a loss of the user's own: killed, continued, blended, edited; on two nodes.

python -m pytest tests/test_plugins_cli.py -s       # prints pids, epochs, scores and seconds
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raytag.store.events import read_events
from raytag.store.files import Storage
from raytag.store.run import RunStore
from tests.cli import environment, run, start
from tests.kills import caught_between, fold_files, wait_for
from tests.recordings import make_folder
from tests.test_extending import EXAMPLES

pytestmark = pytest.mark.long

SPACE = """
from raytag.experiment import Experiment, Loss, Model

PLUGINS = ["network.py", "loss.py"]
PARTS = {"name": "mine", "loss": Loss("GentleFocal")}
EXPERIMENTS = [Experiment(model=Model("FrameAttention", width=w), **PARTS) for w in (8, 12)]
"""
ARGUMENTS = ["--space", "mine.py", "--data", "recordings", "--run", "r", "--epochs", "12", "--stopping", "none"]
ARGUMENTS += ["--num-samples", "2", "--checkpoint-seconds", "0", "--set", "sampling.samples_per_epoch=64"]
ARGUMENTS += ["--set", "input.crop_frames=64", "--set", "training.batch_size=4"]


def lay_out(folder: Path) -> Path:
    """Recordings, plugins of about forty lines, and the space that names them."""
    make_folder(folder / "recordings")
    for name in ("network.py", "loss.py"):
        (folder / name).write_text(EXAMPLES[name])
    (folder / "mine.py").write_text(SPACE)
    return folder


def folds(work: Path) -> list[dict]:
    """What the log says of finished folds."""
    return [e for e in read_events(Storage(work / "runs" / "r")) if e["event"] == "fold"]


def test_a_users_network_and_loss_are_killed_continued_blended_and_edited(tmp_path):
    work, began = lay_out(tmp_path), time.monotonic()
    process = start("launch.py", *ARGUMENTS, cwd=work)
    try:
        workers = wait_for(lambda: caught_between(process.pid, work), "a finished fold and a checkpoint")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for worker in workers:
        worker.kill()
    finished = {f: f.read_bytes() for f in fold_files(work, "*") if (f.parent / "result.json").exists()}
    before = {f.parent for f in finished}
    assert 0 < len(before) < 4

    code, printed = run("launch.py", *ARGUMENTS, cwd=work)
    assert code == 0, printed
    assert {f: f.read_bytes() for f in finished} == finished
    results = {f.parent: json.loads(f.read_text()) for f in fold_files(work, "result.json")}
    assert len(results) == 4
    resumed = {f: r["resumed_from"] for f, r in results.items() if f not in before}
    assert any(resumed.values())
    pids = {e["pid"] for e in folds(work) if "pid" in e}
    assert len(pids) >= 2
    shipped = sorted(f.name for f in (work / "runs" / "r" / "plugins").iterdir())
    assert [name.partition("-")[0] for name in shipped] == ["loss", "network"]
    began_at = sorted(resumed.values())
    print(f"\nfinished before the kill: {len(before)} of 4 folds; the others began at epochs {began_at} of 12")
    print(f"pids of trials {sorted(pids)}; in the run {', '.join(shipped)}; {time.monotonic() - began:.0f} s")

    both = ["--size", "2", "--way", "subset", "--stackers", "0"]
    code, printed = run("ensemble_search.py", "--run", "r", *both, cwd=work)
    assert code == 0, printed
    report = json.loads((work / "runs/r/ensembles/ensemble-001/ensemble.json").read_text())
    assert set(report["members"]) == set(RunStore(str(work / "runs"), "r").experiments())
    print(f"blend of both: lwlrap {report['in_sample']:.4f} in-sample, {report['nested']:.4f} nested")

    store = RunStore(str(work / "runs"), "r")
    old = {name: store.finished_folds(name) for name in store.experiments()}
    files = {f: f.read_bytes() for f in fold_files(work, "*")}
    with open(work / "loss.py", "a") as file:
        file.write("# another content\n")
    code, printed = run("launch.py", *ARGUMENTS, "--trust", cwd=work)
    assert code == 0, printed
    assert f"Trusted, because of --trust: {work}/runs/r/plugins/{shipped[0]}" in printed
    assert {f: f.read_bytes() for f in files} == files  # what was finished is as it was
    new = {name: store.finished_folds(name) for name in store.experiments() if name not in old}
    assert len(old) == len(new) == 2
    assert set(map(tuple, new.values())) == {(0, 1)}
    losses = {n: store.storage.read_json(f"experiments/{n}/experiment.json")["loss"]["name"] for n in old | new}
    assert len(set(losses.values())) == 2
    assert len(list((work / "runs" / "r" / "plugins").iterdir())) == 3
    for command in ("status", "verify", "score", "explain"):
        done = raytag(command, "r", cwd=work)
        assert done.returncode == 0, done.stdout + done.stderr
    assert raytag("prune", "r", "--yes", "--keep-best", "1", cwd=work).returncode == 0
    assert raytag("verify", "r", cwd=work).returncode == 0


def raytag(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A reading command, which must not import what the run holds."""
    code = "import sys; from raytag.cli import main; code = main(sys.argv[1:]); "
    code += "assert not [m for m in sys.modules if m.startswith('raytag_plugin')]; sys.exit(code)"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


#: A plugin says where it is imported; the second node's working folder is another one, and nothing of the first's.
DIARY = """
import os, sys
if "ray" in sys.modules and sys.modules["ray"].is_initialized():
    import psutil, ray
    node = ray.get_runtime_context().get_node_id()
    with open("{diary}", "a") as file:
        file.write(f"{{node}} {{os.getpid()}} {{psutil.Process(os.getppid()).cwd()}} {{__file__}}\\n")
"""
NODES = """
import os, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from raytag.search.options import LaunchOptions
from raytag.search.start import start
here = os.getcwd()
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
os.chdir(sys.argv[1])
cluster.add_node(num_cpus=1)
os.chdir(here)
cluster.wait_for_nodes()
ray.init(address=cluster.address, log_to_driver=False)
options = LaunchOptions(space="mine.py", data=Path("recordings"), run="r", epochs=3, num_samples=2, stopping="none",
    set=("input.crop_frames=64", "training.batch_size=4", "sampling.samples_per_epoch=64"))
code = start(options, Console(width=200))
ray.shutdown()
cluster.shutdown()
sys.exit(code)
"""


def test_workers_of_a_node_with_another_working_folder_import_the_plugins(tmp_path):
    work = lay_out(tmp_path / "work")
    elsewhere, diary = tmp_path / "elsewhere", tmp_path / "diary"
    elsewhere.mkdir()
    with open(work / "network.py", "a") as file:
        file.write(DIARY.format(diary=diary))
    done = subprocess.run(
        [sys.executable, "-c", NODES, str(elsewhere)],
        cwd=work,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 trials at a time" in done.stdout
    assert len(fold_files(work, "result.json")) == 4
    seen = [line.split() for line in diary.read_text().splitlines() if "/runs/" in line]  # the driver has the file
    assert {folder for _, _, folder, _ in seen} == {str(work), str(elsewhere)}
    assert len({node for node, *_ in seen}) == 2
    assert {os.path.dirname(file) for *_, file in seen} == {str(work / "runs" / "r" / "plugins")}
    trained = {str(e["pid"]) for e in folds(work)}
    assert trained <= {pid for _, pid, *_ in seen}
    assert len(trained) == 2
    print()
    assert len(seen) == 2
    for node, pid, folder, file in seen:
        print(f"node {node[:8]} pid {pid} of {Path(folder).name}/ imported {Path(file).relative_to(tmp_path)}")
