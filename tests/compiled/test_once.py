"""Of the processes of a node one compiles, the others load; nothing that goes wrong with files stops them."""

from __future__ import annotations

import inspect
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from raytag.compiled import cache_folder
from raytag.compiled import once as module
from raytag.compiled.cache_folder import kernel_digest, kernel_sources
from raytag.compiled.once import compiling, fingerprint, imported_kernels, once, stamp_of
from tests.cli import REPOSITORY, environment

KERNEL = """
from numba import njit

@njit(cache=True)
def double(x):
    return 2 * x
"""

WORKER = """
import json, sys, time
import small_kernel
from raytag.compiled.once import once

def compile_all():
    spans.append(time.time())
    small_kernel.double(3)
    time.sleep(1)  # real kernels take longer; the others come to the lock meanwhile
    spans.append(time.time())

spans = []
print("ready", flush=True)
sys.stdin.readline()  # both start at once
once("small", compile_all)
ready = time.time()
small_kernel.double(3)
stats = small_kernel.double.stats
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), ready, spans]))
"""


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """An empty place for compiled code, in a process that has met no room yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "_ready", set())
    return tmp_path


def test_two_processes_on_an_empty_cache_compile_once(tmp_path):
    (tmp_path / "small_kernel.py").write_text(KERNEL)
    cache = tmp_path / "cache"
    cache.mkdir()
    env = environment() | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", WORKER], env=env, **pipes) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        found = sorted(json.loads(process.communicate(timeout=100)[0]) for process in processes)
    finally:
        for process in processes:
            process.kill()
    (*compiled, _, (_, end)), (*loaded, went_on, nothing) = found
    assert (compiled, loaded) == ([0, 1], [1, 0])
    assert went_on >= end
    assert nothing == []
    assert len(list(cache.rglob("raytag-small-*.nbdone"))) == 1


def test_a_stamp_is_left_by_success_only(folder, monkeypatch):
    def fail():
        raise RuntimeError("no compiler")

    with pytest.raises(RuntimeError, match="no compiler"):
        once("room", fail)
    assert not stamp_of("room").exists()
    called = []
    once("room", lambda: called.append(1))
    assert stamp_of("room").exists()
    once("room", lambda: called.append(2))
    monkeypatch.setattr(module, "_ready", set())  # another process
    with FileLock(stamp_of("room").with_suffix(".nblock")):  # it does not ask for it
        once("room", lambda: called.append(3), patience=0)
    assert called == [1]


def test_who_waits_in_vain_goes_on_alone(folder, monkeypatch):
    called = []
    with FileLock(stamp_of("room").with_suffix(".nblock")):
        once("room", lambda: called.append("locked"), patience=0.1)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder / "nowhere" / "at all"))
    once("other", lambda: called.append("no folder"))
    assert called == ["locked", "no folder"]


def test_the_digest_covers_every_kernel():
    """A kernel whose file is left out would be taken for compiled when it has changed."""
    import raytag.blends.warmup
    import raytag.features.logmel
    import raytag.features.warmup
    import raytag.features.waveform
    import raytag.inputs.logmel_images.feed
    import raytag.inputs.waveforms.warmup
    import raytag.models.blocks.fused
    import raytag.train.warmup  # noqa: F401

    files = {Path(inspect.getfile(kernel.py_func)) for kernel in imported_kernels()}
    assert len(files) > 10
    assert files <= set(kernel_sources())
    assert len(kernel_digest()) == len(fingerprint()) == 16


def test_the_digest_changes_with_a_source(monkeypatch, tmp_path):
    (tmp_path / "kernel.py").write_text("from numba import njit")
    monkeypatch.setattr(cache_folder, "kernel_sources", lambda: [tmp_path / "kernel.py"])
    before = kernel_digest.__wrapped__()
    (tmp_path / "kernel.py").write_text("from numba import njit, types")
    assert kernel_digest.__wrapped__() != before


def test_checkouts_that_share_a_folder_compile_each_their_own(tmp_path):
    """numba keeps code by the path of its source: a stamp of the same sources elsewhere must not count."""
    code = "from raytag.compiled.once import stamp_of; from raytag.compiled.fft import transform as kernel\n"
    code += "print(stamp_of('features'), kernel.stats.cache_path)"
    shutil.copytree(
        REPOSITORY / "raytag", tmp_path / "copy" / "raytag", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "link").symlink_to(tmp_path / "copy")
    found = []
    for checkout in ("copy", "link", "copy"):
        env = environment() | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path / checkout)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        found.append(done.stdout.split())
    (stamp, code), (other_stamp, other_code), again = found
    assert stamp != other_stamp
    assert code != other_code
    assert again == [stamp, code]


def test_a_command_compiles_what_the_machine_lacks_and_says_so_once(folder, monkeypatch):
    def compile_slowly(room):
        code = f"import time; time.sleep(0.5); open({str(stamp_of(room))!r}, 'w').close()"
        return subprocess.Popen([sys.executable, "-c", code])

    monkeypatch.setattr(module, "_compile", compile_slowly)
    stamp_of("there").touch()
    output = io.StringIO()
    with compiling(Console(file=output), "one", "two", "there") as wait:
        wait()
        assert stamp_of("one").exists()
        assert stamp_of("two").exists()
        wait()
    first, second = output.getvalue().splitlines()
    assert first == "Compiling kernels for this processor, once for all launches: one, two …"
    assert second.startswith("Kernels compiled in ")
    with compiling(Console(file=output), "one", "two", "there") as wait:
        wait()
    assert len(output.getvalue().splitlines()) == 2


def test_a_command_that_ends_does_not_leave_a_compiler_behind(folder, monkeypatch):
    started = []

    def compile_for_ever(room):
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        return started[0]

    monkeypatch.setattr(module, "_compile", compile_for_ever)
    before = time.monotonic()
    with pytest.raises(ValueError, match="wrong"), compiling(Console(file=io.StringIO()), "room"):
        raise ValueError("wrong")
    assert started[0].returncode is not None
    assert time.monotonic() - before < 60


SIGNATURES = """
from raytag.compiled.once import imported_kernels

def compiled_types():
    return {(k.py_func.__module__, k.py_func.__name__, s) for k in imported_kernels() for s in k.signatures}
"""

FEATURES = """
import io, numpy, soundfile
from raytag.experiment import Features
from raytag.features.bank import quantise
from raytag.features.warmup import _extract_noise

_extract_noise()
before = compiled_types()
for rate, fmax in ((44100, 22050.0), (8000, 4000.0)):
    for form in ("WAV", "FLAC"):
        for channels in (1, 2):
            file = io.BytesIO()
            soundfile.write(file, numpy.random.default_rng(0).normal(0, .1, (9000, channels)), 8000, format=form)
            features = Features(sample_rate=rate, fmax=fmax, n_mels=40)
            quantise(features.spectrogram(file.getvalue(), "x")[0])
"""

TRAIN = """
import numpy
from raytag.experiment import Input, Model
from raytag.inputs.waveforms.effects.chain import Effects
from raytag.inputs.waveforms import warmup
from raytag.train.warmup import _compile, _train_on_noise

_compile()
warmup._compile()
before = compiled_types()
for speed_by in ("speed", "tempo"):
    effects = Effects(Input("WholeWaveforms", speed_by=speed_by), 44100)
    effects.four(numpy.zeros(9000, numpy.float32), numpy.random.default_rng(0))
for name in Model.table:
    small = {"base_size": 4} if "base_size" in Model.pick(name).model_fields else {"width": 1 / 16}
    _train_on_noise(Model(name, **small), 64)
"""


@pytest.mark.parametrize("work", [FEATURES, TRAIN], ids=["features", "train"])
def test_the_small_problem_compiles_all_that_workers_need(work):
    """Else each of them would compile the rest for itself."""
    if work is TRAIN:
        pytest.importorskip("torch")
    code = f"{SIGNATURES}{work}\nassert len(before) > 3\nprint(*sorted(compiled_types() - before))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
