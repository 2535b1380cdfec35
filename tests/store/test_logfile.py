"""The log file of a run: whatever was said can be read later, and nothing ends where it cannot be written."""

from __future__ import annotations

import io
import logging
import re
import warnings
from types import SimpleNamespace

import pytest
from rich.console import Console

from raytag.console import ProgressBar, say
from raytag.search.screen import Screen
from raytag.store import logfile
from raytag.store.files import Storage
from raytag.store.logfile import RunLog


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "run").mkdir()
    return Storage(tmp_path / "run")


@pytest.fixture
def quiet():
    return Console(file=io.StringIO())


def lines(storage):
    """What stands in the log, without times and without the lines of begin and end."""
    found = storage.read("log.txt").decode().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in found)
    return [line.split(" ", 1)[1] for line in found if " --- " not in line]


def test_all_that_is_said_and_every_warning_stands_there_once_in_order(storage, quiet, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ray"), "propagate", False)  # as Ray sets it
    with RunLog("launch") as log:
        say(quiet, "before the run is known")
        log.open(storage)
        say(quiet, "[0:01] 3 clips left out")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old file", stacklevel=1)
        logging.getLogger("numba").warning("slow %s", "path")
        logging.getLogger("ray").error("lost a node")
        logging.getLogger("numba").info("nothing of note")
    said = lines(storage)
    assert said[:2] == ["before the run is known", "[0:01] 3 clips left out"]
    assert re.fullmatch(r"UserWarning: old file \(.*test_logfile\.py:\d+\)", said[2])
    assert said[3:] == ["warning: numba: slow path", "error: ray: lost a node"]
    say(quiet, "afterwards")
    assert "afterwards" not in storage.read("log.txt").decode()


def test_launches_follow_one_another_and_progress_is_left_out(storage, quiet, monkeypatch):
    monkeypatch.setattr("raytag.console.PLAIN_SECONDS", 0.0)
    for number in range(2):
        with RunLog("launch") as log, ProgressBar(quiet, "features", 4, "clips") as progress:
            log.open(storage)
            progress.advance(2)
            say(quiet, f"launch {number}")
    assert "features: 2/4" in quiet.file.getvalue()
    assert lines(storage) == ["launch 0", "launch 1"]
    assert storage.read("log.txt").decode().count("--- launch, raytag") == 2


def test_a_command_that_never_reaches_a_run_leaves_nothing(tmp_path, quiet):
    with RunLog("launch"):
        say(quiet, "a dry run")
    assert not list(tmp_path.iterdir())


def test_the_error_that_ended_it_stands_there(storage):
    log = RunLog("launch")
    log.open(storage)

    def fail():
        with log:
            raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        fail()
    assert lines(storage) == ["ended by ValueError: no room"]


def test_names_cannot_write_lines_or_colours_of_their_own(storage, quiet):
    with RunLog("launch") as log:
        log.open(storage)
        say(quiet, "clip a\n2026-01-01T00:00:00Z fine\x1b[31m\udcff é")
    assert lines(storage) == ["clip a", r"2026-01-01T00:00:00Z fine\x1b[31m\udcff é"]  # each behind its own time


def test_a_log_that_cannot_be_written_ends_nothing_and_catches_up(storage, quiet, tmp_path):
    (tmp_path / "run" / "log.txt").mkdir()
    with RunLog("launch") as log:
        log.open(storage)
        say(quiet, "one")
        (tmp_path / "run" / "log.txt").rmdir()
        say(quiet, "two")
    assert quiet.file.getvalue() == "one\ntwo\n"
    assert lines(storage) == ["one", "two"]


def test_an_object_store_is_written_at_most_once_a_minute_and_at_the_end(storage, quiet, monkeypatch):
    storage.is_local = False
    written = []
    monkeypatch.setattr(
        storage, "write", lambda name, data: written.append(data) or Storage.write(storage, name, data)
    )
    with RunLog("launch") as log:
        log.open(storage)
        for number in range(50):
            say(quiet, f"line {number}")
        assert len(written) == 1
        monkeypatch.setattr(logfile, "UPLOAD_SECONDS", 0.0)
        say(quiet, "a minute later")
        assert len(written) == 2
        monkeypatch.setattr(logfile, "UPLOAD_SECONDS", 60.0)
        say(quiet, "soon after")
    assert len(written) == 3
    assert lines(storage) == [*(f"line {n}" for n in range(50)), "a minute later", "soon after"]


def test_a_search_beside_a_launch_loses_no_line(storage, quiet):
    for storage.is_local in (True, False):
        with RunLog("launch") as one, RunLog("ensemble search") as other:
            one.open(storage)
            other.open(storage)
            one.line("of the launch")
            other.line("of the search")
            one.line("of the launch again", at_once=True)
        assert sorted(lines(storage))[-3:] == ["of the launch", "of the launch again", "of the search"]
        storage.delete("log.txt")


def test_the_screen_shows_warnings_as_if_nobody_listened(storage, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest, **more: shown.append(str(message)))
    with RunLog("launch"):
        logging.getLogger("numba").warning("slow path")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old file", stacklevel=1)
    assert capsys.readouterr().err == "slow path\n"
    assert shown == ["old file"]


def test_a_live_table_scrolls_reasons_away_but_the_log_has_them(storage):
    entries = SimpleNamespace(active=[], folds=[0], can_stop=False, entries={})
    driver = SimpleNamespace(trials={}, race=entries, proposed=1, number=1, budget=None, open_epochs=lambda: 0.0)
    trial = SimpleNamespace(name="e-1 fold 0", reason="OSError: disk full", epoch=0, seconds=0.0, resumed_from=0)
    terminal = Console(file=io.StringIO(), force_terminal=True)
    with RunLog("launch") as log, Screen(terminal, driver, 1) as screen:
        log.open(storage)
        screen.notify("failed", trial)
    assert "disk full" not in terminal.file.getvalue()
    assert lines(storage) == ["[0:00] e-1 fold 0: failed  OSError: disk full  0 epochs  0:00"]
