"""Every fault of a CSV is an error that names the file and the line."""

from __future__ import annotations

import re

import pytest

from raytag.datasets import DatasetError, load
from raytag.datasets.loader import table_of
from raytag.datasets.readers import Listing

CURATED = "train_curated.csv"
NOISY = "train_noisy.csv"
SAMPLE = "sample_submission.csv"


def failure(root, **arguments) -> str:
    with pytest.raises(DatasetError) as error:
        load(root, **arguments)
    return str(error.value)


def rows(*lines: str) -> str:
    return "\n".join(["fname,labels", "c1.wav,Bark", *lines]) + "\n"


CASES = {
    "parent folder": (CURATED, rows("../c2.wav,Bark"), 3, r"'\.\./c2\.wav' leaves the audio folder"),
    "parent folder within": (CURATED, rows("a/../../c2.wav,Bark"), 3, "leaves the audio folder"),
    "parent folder, Windows": (CURATED, rows("..\\c2.wav,Bark"), 3, "leaves the audio folder"),
    "absolute": (CURATED, rows("/etc/c2.wav,Bark"), 3, "leaves the audio folder"),
    "absolute, Windows": (CURATED, rows("C:\\c2.wav,Bark"), 3, "leaves the audio folder"),
    "test clip outside": (SAMPLE, "fname,Zither,Bark,Meow\n../c1.wav,0,0,0\n", 2, "leaves the audio folder"),
    "no name": (CURATED, rows(",Bark"), 3, "file name is empty"),
    "unknown label": (CURATED, rows("c2.wav,Barc"), 3, "label 'Barc' is not a class of the sample submission"),
    "unknown noisy label": (NOISY, 'fname,labels\nn1.wav,"Bark,Moo"\n', 2, "label 'Moo' is not a class"),
    "empty label": (CURATED, rows('c2.wav,"Bark,"'), 3, "an empty label in 'Bark,'"),
    "label twice": (CURATED, rows('c2.wav,"Bark,Meow,Bark"'), 3, "a label stands twice"),
    "clip twice": (CURATED, rows("c2.wav,Bark", "c1.wav,Bark"), 4, "c1.wav already stands on line 2"),
    "clip twice, spelt otherwise": (CURATED, rows("./c1.wav,Bark"), 3, "already stands on line 2"),
    "test clip twice": (SAMPLE, "fname,Zither,Bark,Meow\nt1.wav,0,0,0\nt1.wav,0,0,0\n", 3, "stands on line 2"),
    "no column labels": (CURATED, "fname,tags\nc1.wav,Bark\n", 1, "no column labels; the header is fname,tags"),
    "no columns": (NOISY, "file;labels\nc1.wav;Bark\n", 1, "no column fname"),
    "column twice": (CURATED, "fname,labels,labels\nc1.wav,Bark,Bark\n", 1, "column 'labels' stands twice"),
    "too many cells": (CURATED, rows("c2.wav,Bark,Meow"), 3, r"3 cells, but the header has 2 .*quoted"),
    "too few cells": (CURATED, rows("c2.wav"), 3, "1 cells, but the header has 2"),
    "open quote": (CURATED, rows('c2.wav,"Bark', "c3.wav,Bark"), 3, "unexpected end of data"),
    "zero byte in a label": (CURATED, rows("c2.wav,Ba\0rk"), 3, "a zero byte"),
    "zero byte in a name": (CURATED, rows("c2\0.wav,Bark").encode("utf-16"), 3, "a zero byte"),
    "empty": (CURATED, "", 1, "the file is empty"),
    "not UTF-8": (CURATED, rows("b\xe4r.wav,Bark").encode("latin-1"), 3, "not UTF-8 .byte 0xe4"),
    "class twice": (SAMPLE, "fname,Zither,Bark,Bark\nt1.wav,0,0,0\n", 1, "column 'Bark' stands twice"),
    "class without a name": (SAMPLE, "fname,Zither,,Bark\nt1.wav,0,0,0\n", 1, "'' cannot name a class"),
    "no class": (SAMPLE, "fname\nt1.wav\n", 1, "no classes"),
    "first column": (SAMPLE, "Bark,fname\n0,t1.wav\n", 1, "first column is 'Bark'"),
    "fold in words": (
        CURATED,
        "fname,labels,fold\nc1.wav,Bark,0\nc2.wav,Bark,one\n",
        3,
        "fold 'one' is not a whole",
    ),
    "half a fold": (CURATED, "fname,labels,fold\nc1.wav,Bark,0\nc2.wav,Bark,1.5\n", 3, r"fold '1\.5' is not"),
    "negative fold": (CURATED, "fname,labels,fold\nc1.wav,Bark,-1\nc2.wav,Bark,1\n", 2, "fold '-1' is not a whole"),
    "no fold": (CURATED, "fname,labels,fold\nc1.wav,Bark,0\nc2.wav,Bark,\n", 3, "fold '' is not a whole number"),
}


@pytest.mark.parametrize(("name", "content", "line", "message"), CASES.values(), ids=CASES)
def test_fault_is_named_with_file_and_line(make_folder, competition, name, content, line, message):
    root = make_folder({**competition, name: content})
    assert re.match(f"{re.escape(str(root / name))}:{line}: .*{message}", failure(root))


def test_only_a_header(make_folder, competition):
    root = make_folder({**competition, CURATED: "fname,labels\n"})
    assert failure(root) == f"{root / CURATED}: only a header; at least one row is expected"


def test_line_is_where_a_row_starts(make_folder, competition):
    text = 'fname,labels,note\nc1.wav,Bark,"two\nlines"\n\nc2.wav,Barc,"of\nnotes"\n'
    root = make_folder({**competition, CURATED: text})
    assert failure(root).startswith(f"{root / CURATED}:5: label 'Barc'")


def test_several_faults_are_told_at_once(make_folder, competition):
    text = rows(*(f"../{i}.wav,Bark" for i in range(8)))
    lines = failure(make_folder({**competition, CURATED: text})).splitlines()
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in lines[:-1]] == ["3", "4", "5", "6", "7"]
    assert lines[-1] == "… and 3 more"


def test_group_in_two_given_folds_leaks(make_folder, competition):
    text = "fname,labels,fold,group\nc1.wav,Bark,0,s1\n"
    text += "c2.wav,Bark,1,s2\nc3.wav,Bark,1,s1\nc4.wav,Bark,0,\nc5.wav,Bark,1,\n"
    root = make_folder({**competition, CURATED: text})
    message = failure(root)
    assert message.startswith(f"{root / CURATED}:4: group 's1' is in fold 1 here and in fold 0 on line 2")
    assert "fold_method to 'group'" in message
    table = load(root, fold_method="group", n_folds=2)  # the way out that the message names
    assert table.clips["fold"][0] == table.clips["fold"][2]


def test_given_folds_are_not_renumbered_silently(make_folder, competition):
    text = "fname,labels,fold\n" + "".join(f"c{i}.wav,Bark,{i % 3}\n" for i in range(1, 7))
    root = make_folder({**competition, CURATED: text})
    assert load(root, n_folds=3).n_folds == 3
    message = failure(root, n_folds=5)
    assert "brings 3 folds" in message
    assert "fold_method" in message
    assert load(root, n_folds=2, fold_method="stratified").n_folds == 2


def test_bad_given_folds_do_not_matter_to_other_methods(make_folder, competition):
    text = "fname,labels,fold\nc1.wav,Bark,x\nc2.wav,Bark,y\n"
    assert load(make_folder({**competition, CURATED: text}), n_folds=2, fold_method="stratified").n_folds == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fold_method": "random"}, "no such fold_method: 'random'; there are auto, given"),
        ({"fold_method": "given"}, "brings no folds"),
        ({"fold_method": "group"}, "brings no groups"),
        ({"n_folds": 1}, "at least 2"),
        ({"n_folds": 7}, "6 curated clips are too few for 7 folds"),
        ({"n_folds": 7, "fold_method": "kfold"}, "6 curated clips are too few for 7 folds"),
    ],
)
def test_fold_arguments(make_folder, competition, arguments, message):
    assert message in failure(make_folder(competition), **arguments)


def test_one_given_fold_is_too_few(make_folder, competition):
    text = "fname,labels,fold\nc1.wav,Bark,3\nc2.wav,Bark,3\n"
    assert "all curated clips are in fold 3" in failure(make_folder({**competition, CURATED: text}))


def test_too_few_groups(make_folder, competition):
    text = "fname,labels,group\n" + "".join(f"c{i}.wav,Bark,s{i % 2}\n" for i in range(1, 7))
    assert "2 groups are too few for 3 folds" in failure(make_folder({**competition, CURATED: text}), n_folds=3)


def test_a_layout_without_a_clip_to_train_on_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no clip to train on in a dataset of the layout bare"):
        table_of(tmp_path, Listing("bare", []))
