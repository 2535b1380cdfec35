"""Tables of actions and corrections files become one; what is wrong in them is named with file and line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from raytag.datasets.corrections import Corrections
from raytag.experiment import CorrectionsFile
from raytag.labels.actions import as_json, merge, read_actions, read_scores

CLASSES = ("Bark", "Meow", "Male, speaking")


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path.joinpath(name).relative_to(tmp_path)

    return write


def test_an_edited_table_and_a_corrections_file_are_one_corrections_file(write):
    """The table as a spreadsheet saves it: semicolons, a capital, blank cells."""
    table = write(
        "a.csv",
        "fname;labels;score;action\nd.wav;Bark;0,1;Remove\nb.wav;Bark;0,2;\n"
        'a.wav;Bark;0,3;"Meow, ""Male, speaking"""\n',
    )
    older = write("b.json", '{"c.wav": "remove",\n "d.wav": "remove"}')
    files = [read_actions(path, CLASSES) for path in (table, older)]
    actions, conflicts = merge(files)
    assert conflicts == []
    assert actions == {"a.wav": ("Meow", "Male, speaking"), "c.wav": None, "d.wav": None}
    merged = write("c.json", as_json(actions).decode())
    again = Corrections.parse(CorrectionsFile.read(str(merged)), CLASSES)
    assert dict(again.labels) == actions
    assert again.lines == {"a.wav": 2, "c.wav": 3, "d.wav": 4}


def test_conflicts_are_named_by_line_and_one_file_holds(write):
    one = read_actions(write("one.csv", 'fname,action\na.wav,remove\nb.wav,"Bark,Meow"\nc.wav,Bark\n'))
    two = read_actions(write("two.json", json.dumps({"b.wav": "Meow,Bark", "a.wav": "Bark"}, indent=1)))
    three = read_actions(write("three.csv", "fname,action\na.wav,remove\n"))
    actions, conflicts = merge([one, two, three])
    assert [tuple(conflict) for conflict in conflicts] == [
        ("a.wav", ("one.csv:2 says remove", "two.json:3 says Bark", "three.csv:2 says remove"))
    ]
    assert actions == {"a.wav": None, "b.wav": ("Bark", "Meow"), "c.wav": ("Bark",)}
    assert merge([one, two], "last")[0] == {"a.wav": ("Bark",), "b.wav": ("Meow", "Bark"), "c.wav": ("Bark",)}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "fname,action\na.wav,Brak\n", r"^a\.csv:2: a\.wav: label 'Brak' is not one of the 3 classes"),
        ("a.csv", 'fname,action\nb.wav,\na.wav,"Bark,,Meow"\n', r"^a\.csv:3: a\.wav: an empty label"),
        ("a.csv", "fname,action\na.wav,Bark\na.wav,Meow\n", r"^a\.csv:3: a\.wav has an action on line 2 already"),
        ("a.csv", "fname,labels\na.wav,Bark\n", r"^a\.csv:1: no column action"),
        ("a.json", '{"a.wav": "Brak"}', r"^a\.json:1: a\.wav: label 'Brak'"),
        ("a.json", "[]", r"^a\.json:1: expected is one object"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, name, text, words):
    with pytest.raises(ValueError, match=words):
        read_actions(write(name, text), CLASSES)


def test_scores_are_read_as_they_stand(write):
    labels, scores, margins = read_scores(
        write("s.csv", 'fname,labels,score\nb.wav,"Bark,Meow",1.0\na.wav,Bark,0.5\n')
    )
    np.testing.assert_array_equal(margins, scores)
    _, _, margins = read_scores(write("s.csv", "fname,labels,score,margin\na.wav,Bark,1,0.25\n"))
    assert margins.tolist() == [0.25]
    assert labels == {"b.wav": ("Bark", "Meow"), "a.wav": ("Bark",)}
    np.testing.assert_array_equal(scores, [1.0, 0.5])
    for text, words in [
        ("fname,score\na.wav,1\n", "s.csv:1: no column labels"),
        ("fname,labels,score\na.wav,Bark,high\n", "s.csv:2: a.wav: the score 'high' is no number"),
        ("fname,labels,score\na.wav,Bark,nan\n", "s.csv:2: a.wav: the score 'nan' is no number"),
        ("fname,labels,score,margin\na.wav,Bark,1,\n", "s.csv:2: a.wav: the margin '' is no number"),
        ("fname,labels,score\na.wav,,1\n", "s.csv:2: a.wav: labels are expected"),
        ("fname,labels,score\na.wav,Bark,1\na.wav,Bark,1\n", "s.csv:3: a.wav stands twice"),
    ]:
        with pytest.raises(ValueError, match=words.replace(".", r"\.")):
            read_scores(write("s.csv", text))
