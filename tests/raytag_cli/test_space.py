"""raytag space: what there is, and what one space holds."""

from __future__ import annotations

import json

import pytest

from raytag import space
from raytag.cli import main

MINE = '''
"""Two networks of mine.

The second one is small.
"""
from raytag.experiment import Experiment, Init, Model
from raytag.space import choice, loguniform
NOTES = ["It was made for birds."]
FIRST = Experiment(name="first")
BASE = Experiment(name="second", model=Model("SimpleKaggle", base_size=8), init=Init("ParentWeights", parent=FIRST))
VARY = {"optimizer.lr": loguniform(1e-4, 1e-2), "training.batch_size": choice([16, 32])}
'''


def test_all_spaces_stand_with_their_first_line(capsys):
    assert main(["space", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == space.available()
    assert all(summary.endswith(".") for summary in told.values())
    assert main(["space"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(told)


def test_a_space_that_is_no_python_is_listed_too(tmp_path, monkeypatch, capsys):
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "broken.py").write_text("BASE = (")
    monkeypatch.chdir(tmp_path)
    assert main(["space"]) == 0
    assert "broken.py is no Python file" in capsys.readouterr().out


def test_one_space_tells_its_help_its_notes_what_comes_first_and_what_varies(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    mine = space.load(str(tmp_path / "mine.py"))
    first, second = mine.earlier[0].id, mine.first.id
    assert main(["space", mine.path]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Two networks of mine.\n\nThe second one is small.\nIt was made for birds.\n")
    assert f"earlier  {first}" in said
    assert f"first    {second}  model.name=SimpleKaggle, model.base_size=8, " in said
    assert f"init.parent={first}" in said
    assert "varies   optimizer.lr  from 0.0001 to 0.01, logarithmically" in said
    assert "varies   training.batch_size  over 16, 32" in said


def test_scripts_get_the_same(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    assert main(["space", str(tmp_path / "mine.py"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["notes"] == ["It was made for birds."]
    assert [e["stage"] for e in told["earlier"] + told["first"]] == [1, 2]
    assert told["first"][0]["differs"]["model.base_size"] == "8"
    assert told["varies"] == [
        {"optimizer.lr": "from 0.0001 to 0.01, logarithmically", "training.batch_size": "over 16, 32"}
    ]


def test_a_space_that_is_not_there_names_what_is_near(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["space", "argus_winner"])
    assert "did you mean argus_winners" in capsys.readouterr().err
