"""numba finds a folder for compiled code, or is given one of this user alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from numba.misc.appdirs import AppDirs

from raytag.compiled import cache_folder


@pytest.fixture
def no_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that it is put back afterwards
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(cache_folder.tempfile, "gettempdir", lambda: str(tmp_path))


def test_where_numba_can_write_nothing_is_changed(no_cache_dir):
    cache_folder.choose_cache_folder()
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_where_it_cannot_a_private_folder_is_chosen(no_cache_dir, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(cache_folder, "PACKAGE", file / "raytag")
    monkeypatch.setattr(cache_folder, "_user_cache", lambda: file / "cache")
    cache_folder.choose_cache_folder()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    cache_folder.choose_cache_folder()
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)  # compiled code is found again

    monkeypatch.delenv("NUMBA_CACHE_DIR")
    folder.chmod(0o777)  # others could put code there
    cache_folder.choose_cache_folder()
    other = Path(os.environ["NUMBA_CACHE_DIR"])
    assert other != folder
    assert stat.S_IMODE(other.stat().st_mode) == 0o700


def test_the_users_own_choice_stays(no_cache_dir, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/mine")
    monkeypatch.setattr(cache_folder, "_numbas_choice", lambda: None)
    cache_folder.choose_cache_folder()
    assert os.environ["NUMBA_CACHE_DIR"] == "/mine"


def test_the_users_cache_folder_is_the_one_that_numba_takes():
    assert cache_folder._user_cache() / "numba" == Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)
