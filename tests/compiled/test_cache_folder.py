"""Compiled code lies in one folder that this user alone can write to, or where the user says."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from raytag.compiled import cache_folder
from raytag.errors import RefusedError
from tests.cli import REPOSITORY, environment


@pytest.fixture
def cache_home(monkeypatch, tmp_path) -> Path:
    """The user's cache folder and a folder for temporary files, and no choice made yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that it is put back afterwards
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache_folder.sys, "platform", "linux")
    monkeypatch.setattr(cache_folder.sys, "modules", {})  # numba, which is there, keeps its folder
    monkeypatch.setattr(cache_folder.tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache"


def chosen() -> Path:
    os.environ.pop("NUMBA_CACHE_DIR", None)
    cache_folder.choose_cache_folder()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.is_dir()
    assert folder.name == cache_folder.kernel_digest()
    return folder.parent


def test_it_lies_in_the_users_cache_folder_and_is_the_users_own(cache_home):
    folder = chosen()
    assert folder == cache_home / "raytag" / "kernels"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [list(own.iterdir()) for own in folder.iterdir()] == [[]]
    assert chosen() == folder


def test_it_lies_where_each_system_keeps_caches(cache_home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert chosen() == tmp_path / "home" / ".cache" / "raytag" / "kernels"
    monkeypatch.setattr(cache_folder.sys, "platform", "darwin")
    assert chosen() == tmp_path / "home" / "Library" / "Caches" / "raytag" / "kernels"


@pytest.mark.parametrize("fault", ["file", "open to others", "homeless"])
def test_where_that_will_not_do_a_private_folder_is_chosen(cache_home, monkeypatch, tmp_path, fault):
    if fault == "file":
        cache_home.touch()
    elif fault == "open to others":
        (cache_home / "raytag" / "kernels").mkdir(parents=True)
        (cache_home / "raytag" / "kernels").chmod(0o777)  # they could put code there
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/cache")
    folder = chosen()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert chosen() == folder  # compiled code is found again

    folder.chmod(0o777)
    other = chosen()
    assert (other.parent, other != folder) == (tmp_path, True)
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    shutil.rmtree(folder)
    (tmp_path / "theirs").mkdir()
    folder.symlink_to(tmp_path / "theirs")  # as anybody could
    assert chosen() == other
    for number in range(2, 10):
        Path(f"{folder}-{number}").touch()
    other.chmod(0o777)
    with pytest.raises(RefusedError, match="set TMPDIR"):
        chosen()


def test_it_lies_where_the_user_says_and_children_keep_their_parents(cache_home, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    for _ in range(2):
        cache_folder.choose_cache_folder()
        assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "mine" / cache_folder.kernel_digest())
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/no/such")  # nothing can be kept there, and nothing fails
    cache_folder.choose_cache_folder()


@pytest.mark.parametrize("before", ["import raytag", "import numba; import raytag"], ids=["first", "after numba"])
def test_numba_keeps_kernels_there(before, tmp_path):
    """Also where it was imported before; importing raytag alone does not import it."""
    code = f"import sys; {before}; print('numba' in sys.modules)\n"
    code += "from raytag.compiled.fft import transform; print(transform.stats.cache_path)"
    env = environment() | {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": str(tmp_path)}
    if sys.platform == "darwin":
        env |= {"HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    numba, path = done.stdout.splitlines()
    assert numba == str("numba" in before)
    assert Path(path).parents[1].parts[-2:] == ("raytag", "kernels")
    assert tmp_path in Path(path).parents
