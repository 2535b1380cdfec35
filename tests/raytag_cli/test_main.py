"""The command raytag: help at once, misspelt commands, errors of one sentence."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib

import pytest

import raytag
from raytag.cli import COMMANDS, main
from tests.conftest import REPOSITORY

HEAVY = {
    "numba",
    "numpy",
    "pandas",
    "psutil",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "scipy",
    "sklearn",
    "torch",
    "tyro",
}


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_that_takes_time(arguments):
    program = (
        "import sys\nfrom raytag.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        f"print(sorted({HEAVY} & {{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.startswith("usage: raytag")
    assert done.stderr == "[]\n"


def test_every_command_is_listed_and_has_what_main_calls(capsys):
    assert main(["--help"]) == main([]) == 0
    shown = capsys.readouterr().out
    for name, (module, words) in COMMANDS.items():
        assert f"  {name}" in shown
        assert words in shown
        assert {"add_arguments", "run"} <= set(dir(importlib.import_module(module)))


def test_the_entry_point_and_the_module_are_the_same_command():
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"raytag": f"{main.__module__}:{main.__name__}"}
    command = [sys.executable, "-m", "raytag", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == f"raytag {raytag.__version__}\n"


@pytest.mark.parametrize(("name", "hint"), [("explian", "did you mean explain?"), ("xyz", "there are check, ")])
def test_an_unknown_command_names_what_may_be_meant(capsys, name, hint):
    assert main([name]) == 2
    assert f"error: there is no command {name!r}; {hint}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--publik", "--pub"])  # options are not to be cut short in scripts
def test_an_unknown_option_is_refused(capsys, option):
    with pytest.raises(SystemExit, match="2"):
        main(["score", option, "0.5"])
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["explain", "score", "status"])
def test_errors_are_one_sentence(capsys, tmp_path, command):
    with pytest.raises(SystemExit, match="2"):
        main([command, "--runs-dir", str(tmp_path)])
    assert capsys.readouterr().err == f"error: there is no run in {tmp_path}; start one with python launch.py\n"
