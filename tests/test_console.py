"""What long jobs show, with and without a terminal."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest
from rich.console import Console

from raytag import console as console_module
from raytag.console import ProgressBar, duration, make_console, make_table, parse_duration, say, size_words
from raytag.errors import explain_errors, visible


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "?"), (float("inf"), "?"), (0.4, "0:00"), (75, "1:15"), (4000, "1:06:40")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("45m", 2700),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1.5h", 5400),
        (".5m", 30),
        (" 1D 2H 3m 4s ", 93784),
    ],
)
def test_durations_are_parsed(text, seconds):
    assert parse_duration("--time-budget", text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "h", "soon", "2 hours", "1h30", "30m1h", "1m1m", "-5m", "1e9", "0", "0h0m", "nan", "9" * 400]
)
def test_a_wrong_duration_names_the_option_and_shows_how(text):
    with pytest.raises(ValueError, match=r"--time-budget .*45m"):
        parse_duration("--time-budget", text)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (1_234_567, "1.2 MB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_sizes(size, words):
    assert size_words(size) == words


def test_lines_stay_as_they_are():
    console = Console(file=io.StringIO(), width=20)
    say(console, "[0:01] a line that is longer than the console is wide")
    assert console.file.getvalue() == "[0:01] a line that is longer than the console is wide\n"


def test_plain_progress_counts_units_and_time_left(monkeypatch):
    monkeypatch.setattr(console_module, "PLAIN_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=200)
    with ProgressBar(console, "features", 4, "clips") as progress:
        assert progress.seconds_left is None
        progress.advance(1)
        progress.advance(3)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("features: 1/4 clips, ")
    assert lines[1].endswith(", 0:00 left")


def test_progress_without_a_unit_shows_shares(monkeypatch):
    monkeypatch.setattr(console_module, "PLAIN_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=200)
    with ProgressBar(console, "search", 4.0) as progress:
        progress.advance(1.0)
        progress.advance(3.0)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("search: 25% done, ")
    assert lines[1] == "search: 100% done, 0:00 left"


def test_a_fast_job_prints_no_plain_lines():
    console = Console(file=io.StringIO(), width=200)
    with ProgressBar(console, "search", 4.0) as progress:
        progress.advance(4.0)
    assert console.file.getvalue() == ""


def test_progress_on_a_terminal_is_a_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with ProgressBar(console, "search", 2.0) as progress:
        progress.advance(2.0)
    assert "100% done" in console.file.getvalue()


def test_tables_in_a_log_file_are_not_cut(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console().width == console_module.PLAIN_WIDTH


@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO])
def test_a_reader_that_leaves_ends_nothing(code, tmp_path, monkeypatch):
    """As ``head`` does, and a terminal that is closed: what is said goes nowhere, and work goes on."""

    class Gone(io.TextIOWrapper):
        def write(self, text):
            if not os.path.samestat(os.fstat(self.fileno()), os.stat(os.devnull)):
                raise OSError(code, os.strerror(code))
            return super().write(text)

    with open(tmp_path / "output", "wb") as file, Gone(file, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        console = make_console()
        for _ in range(3):
            say(console, "nobody hears this")
        with ProgressBar(console, "work", 1.0) as bar:
            bar.advance(1.0)
        monkeypatch.undo()
    assert (tmp_path / "output").read_bytes() == b""


def test_a_full_disk_below_the_output_is_no_reader_that_left(tmp_path, monkeypatch):
    class Full(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", Full())
    console = make_console()
    say(console, "lost")
    sys.stdout.full = False
    say(console, "said")
    assert sys.stdout.getvalue() == "said\n"


EVIL = "a\x1b]0;owned\x07\x1b[2Jb\x9bc\x00d\udcff.wav"
SHOWN = r"a\x1b]0;owned\x07\x1b[2Jb\x9bc\x00d\udcff.wav"


def test_control_characters_of_names_never_reach_the_terminal(capsys):
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    say(console, f"{EVIL} and\nmore")
    table = make_table("t", ["name", "number"])
    table.add_row(EVIL, "1")
    console.print(table)
    text = console.file.getvalue()
    assert text.startswith(f"{SHOWN} and\nmore\n")
    assert text.count(SHOWN) == 2
    with pytest.raises(SystemExit), explain_errors():
        raise ValueError(f"{EVIL} is no file")
    assert capsys.readouterr().err == f"error: {SHOWN} is no file\n"


def test_what_people_write_is_shown_as_it_is():
    text = "Glöckchen – 鳥, \t[bold] ♫\nnext"
    assert visible(text) == text
