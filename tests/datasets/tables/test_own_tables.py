"""Tables as people save them: read as their author meant, or refused with a way out."""

from __future__ import annotations

import re
import shutil
import unicodedata

import numpy as np
import pytest
import soundfile

from raytag.datasets import DatasetError, load

NAMES = [f"{i:03d}.wav" for i in range(8)]
LABELS = ["dog", "dog,rain", "cat", "cat", "rain", "rain,cat", "dog", "bell"]
PLAIN = [(name, labels.split(",")) for name, labels in zip(NAMES, LABELS, strict=True)]
TABLE = "fname,labels\n" + "".join(f'{name},"{labels}"\n' for name, labels in zip(NAMES, LABELS, strict=True))


@pytest.fixture
def read(tmp_path):
    """Loads a table (text or bytes) beside recordings of these names; gives labels by clip, and the table."""

    def of(content, names=NAMES, folder="audio", file="clips.csv", **options):
        rng = np.random.default_rng(0)
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, 800), 8000)
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / file).write_bytes(data)
        table = load(tmp_path, n_folds=2, **options)
        return [
            (name, sorted(table_labels(row))) for name, row in table.clips[["fname", "labels"]].to_numpy()
        ], table

    return of


def table_labels(text):
    return text.split(",") if text else []


def meant(found):
    return found[0] == [(name, sorted(labels)) for name, labels in PLAIN]


def told(table) -> dict[str, str]:
    return {finding.code: str(finding) for finding in table.findings}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_usual_delimiter_and_encoding(read, delimiter, end, encoding):
    text = end.join(f'{name}{delimiter}"{labels}"' for name, labels in zip(NAMES, LABELS, strict=True))
    found = read(f"fname{delimiter}labels{end}{text}{end}".encode(encoding))
    assert meant(found)
    assert ("UTF-16" in found[1].read_as[0]) == encoding.startswith("utf-16")


def test_habits_of_spreadsheets(read):
    rows = "".join(f"{name};{labels};;\r\n" for name, labels in zip(NAMES, LABELS, strict=True))
    assert meant(read("sep=;\r\nFname;Labels;;\r\n" + rows + ";;;\r\n"))


@pytest.mark.parametrize("sign", [";", "|", "\t", ", ", " | "])
def test_labels_are_separated_by_the_only_sign_that_is_there(read, sign):
    assert meant(read(TABLE.replace(',rain"', f'{sign}rain"').replace(',cat"', f'{sign}cat"')))


def test_two_signs_are_ambiguous_until_one_is_named(read):
    text = TABLE.replace("dog,rain", "dog;rain")
    with pytest.raises(DatasetError, match=r"clips.csv:7: labels hold commas in 1 cells \(line 7\) and semicolons"):
        read(text)
    found, table = read(text, labels_separator="semicolon")
    assert ("005.wav", ["cat", "rain"]) in found or table.classes == ("bell", "cat", "dog", "rain", "rain,cat")
    assert "labels-parts" in told(table)
    with pytest.raises(DatasetError, match="there are comma, semicolon, tab"):
        read(text, labels_separator="dash")


@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda labels: "[" + " ".join(map(repr, labels)) + "]",  # numpy's
        lambda labels: "[" + ", ".join(labels) + "]",
        lambda labels: "[" + ", ".join(f'""{label}""' for label in labels) + "]",  # JSON within CSV
    ],
    ids=["pandas", "numpy", "bare", "json"],
)
def test_lists_are_read(read, write):
    found = read("fname,labels\n" + "".join(f'{name},"{write(labels)}"\n' for name, labels in PLAIN))
    assert meant(found)
    assert "labels are lists" in found[1].read_as[0]


def test_half_a_column_of_lists_is_refused(read):
    with pytest.raises(DatasetError, match=r"clips.csv:3: 'dog,rain' is no list of labels, but line 2 has one"):
        read(TABLE.replace('"dog"\n001', "['dog']\n001"))


def test_a_row_a_label(read):
    rows = [f"{name},{label}" for name, labels in PLAIN for label in labels]
    found = read("fname,label\n" + "\n".join(rows) + "\n")
    assert meant(found)
    assert told(found[1])["rows-joined"].startswith("2 rows of clips.csv join (001.wav on lines 3 and 4, ")
    with pytest.raises(DatasetError, match=r"clips.csv:4: 001.wav has another fold or group here than on line 3"):
        read("fname,label,fold\n" + "\n".join(f"{row},{i % 2}" for i, row in enumerate(rows)) + "\n")


def test_a_wide_table(read):
    classes = ["dog", "rain", "cat", "bell"]
    rows = [",".join([name, *(str(int(c in labels)) for c in classes)]) for name, labels in PLAIN]
    found, table = read("fname," + ",".join(classes) + "\n" + "\n".join(rows) + "\n")
    assert meant((found, table))
    assert table.classes == tuple(classes)
    wrong = "\n".join(rows).replace("000.wav,1", "000.wav,0.4")
    with pytest.raises(DatasetError, match="no dataset that raytag knows"):
        read("fname," + ",".join(classes) + "\n" + wrong + "\n")


def test_a_sample_submission_is_no_table_of_labels(read, tmp_path):
    (tmp_path / "sample_submission.csv").write_text("fname,dog,cat\nt.wav,1,0\n")
    assert meant(read(TABLE))


def test_clips_without_a_label_are_negatives(read):
    found, table = read(TABLE.replace('"bell"', "").replace('003.wav,"cat"', "003.wav,"))
    assert found[3] == ("003.wav", [])
    assert (table.targets()[[3, 7]] == 0).all()
    assert told(table)["negatives"].startswith("2 curated clips have no label (003.wav, line 5, 007.wav, line 9)")
    with pytest.raises(DatasetError, match="no clip has a label"):
        read(re.sub('"[^"]+"', "", TABLE))


def test_a_name_with_a_comma_can_be_quoted_or_listed(read, tmp_path):
    rows = "".join(
        f"{name},{labels}\n" for name, labels in zip(NAMES, ['"""rain, heavy"",dog"', "dog"] * 4, strict=True)
    )
    _, table = read("fname,labels\n" + rows)
    assert table.classes == ("dog", "rain, heavy")
    assert (table.targets() == [[1, 1], [1, 0]] * 4).all()
    again = load(table.directory, n_folds=2, labels_separator="comma")
    assert again.fingerprint() == table.fingerprint()


def test_classes_of_a_sample_submission_may_hold_commas(make_folder, competition):
    text = competition["train_curated.csv"].replace("Meow", "Meow, loud")
    files = {**competition, "train_curated.csv": text.replace("c2.wav,Meow, loud", 'c2.wav,"Meow, loud"')}
    files["train_noisy.csv"] = competition["train_noisy.csv"].replace("n2.wav,Meow", 'n2.wav,"Bark,Meow, loud"')
    files["sample_submission.csv"] = competition["sample_submission.csv"].replace(",Meow", ',"Meow, loud"')
    table = load(make_folder(files), n_folds=2)
    assert table.classes == ("Zither", "Bark", "Meow, loud")
    assert table.targets()[[1, 2, 7]].tolist() == [[0, 0, 1], [0, 1, 1], [0, 1, 1]]
    assert table.fingerprint() == load(table.directory, n_folds=2).fingerprint()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('003.wav,"cat"', "003.wav,Cat", "labels-alike"),
        ('003.wav,"cat"', "003.wav,ca t", "labels-alike"),
        ('003.wav,"cat"', "003.wav,cat\u200b", "labels-alike"),
        ('003.wav,"cat"', "003.wav,(cat", "labels-brackets"),
        ('003.wav,"cat"', "003.wav,'cat", "labels-brackets"),
        ('003.wav,"cat"', "003.wav,nan", "labels-missing"),
        ('003.wav,"cat"', "003.wav,cat dog", "labels-parts"),
        ('003.wav,"cat"', "003.wav,cat/dog", "labels-parts"),
        ('"dog,rain"', '"dog,rain,wet"', ""),
        ('"rain', '"rain,wet', "labels-together"),
    ],
)
def test_names_that_look_like_mistakes_are_named(read, old, new, code):
    text = TABLE.replace("dog,rain", "dog,rain,wet") if code == "labels-together" else TABLE
    assert old in text
    _, table = read(text.replace(old, new))
    assert set(told(table)) == ({code} if code else set())
    assert all(f.wrong for f in table.findings) == (code != "labels-together")


def test_two_forms_of_one_letter_are_one_class_and_one_name(read):
    one, two = (unicodedata.normalize(form, "béla") for form in ("NFC", "NFD"))
    names = [*NAMES[:7], f"{two}.wav"]
    _, table = read(
        TABLE.replace("007.wav", f"{one}.wav").replace('"bell"', one).replace('006.wav,"dog"', f"006.wav,{two}"),
        names,
    )
    assert table.classes == (one, "cat", "dog", "rain")
    assert table.clips["duration"].notna().all()
    assert "1 name stands in the table with other slashes or in another Unicode form" in told(table)["names"]


def test_one_class_is_named(read):
    _, table = read("fname,labels\n" + "".join(f"{name},dog\n" for name in NAMES))
    assert "whatever is predicted" in told(table)["one-class"]


def test_a_class_called_as_a_column_of_our_tables_is_refused(read):
    with pytest.raises(DatasetError, match=r"clips.csv: a class cannot be called 'fname'"):
        read(TABLE.replace("bell", "fname"))


@pytest.mark.parametrize(
    ("write", "names", "words"),
    [
        (lambda name: name.removesuffix(".wav"), NAMES, "without their extension"),
        (lambda name: name.replace(".wav", ".mp3"), NAMES, "with another one"),
        (lambda name: f"site\\{name}", [f"site/{name}" for name in NAMES], "with other slashes"),
        (lambda name: name.upper(), NAMES, "in other case"),
        (lambda name: name, [f"a/b{i % 2}/{name}" for i, name in enumerate(NAMES)], "another folder"),
        (lambda name: f"recordings/{name}", NAMES, "another folder"),
        (lambda name: str(int(name.removesuffix(".wav"))), NAMES, "as numbers"),
        (lambda name: f"{int(name.removesuffix('.wav'))}.0", NAMES, "as numbers"),
    ],
    ids=["stem", "extension", "backslash", "case", "below", "above", "number", "float"],
)
def test_names_written_otherwise_find_their_files(read, write, names, words):
    text = "".join(f'{write(name)},"{labels}"\n' for name, labels in zip(NAMES, LABELS, strict=True))
    _, table = read("fname,labels\n" + text, names)
    if words == "as numbers":
        names = (
            [*names[1:], names[0]] if "0," in text.split("\n")[0] and not table.clips["duration"][0] > 0 else names
        )
    assert table.clips["duration"].notna().all()
    assert words in told(table)["names"]
    assert table.clips["fname"][1] == write(NAMES[1])


def test_a_name_that_may_mean_two_files_is_not_guessed(read, tmp_path):
    read(TABLE)
    shutil.copy(tmp_path / "audio" / "003.wav", tmp_path / "audio" / "003.flac")
    _, table = read(TABLE.replace("003.wav", "003"))
    assert np.isnan(table.clips["duration"][3])
    assert "003 may be 003.flac or 003.wav" in told(table)["names-ambiguous"]


def test_two_names_of_one_file_are_refused(read):
    with pytest.raises(DatasetError, match=r"clips.csv:10: 003 and 003.wav mean one file"):
        read(TABLE + "003,bell\n")


def test_names_that_are_nowhere_are_shown_beside_those_that_are_there(read):
    text = TABLE.replace("00", "rec_x00")
    with pytest.raises(DatasetError) as error:
        read(text)
    said = str(error.value)
    assert "none of its 8 files is in" in said
    assert "The table says 'rec_x000.wav', 'rec_x001.wav'; the folder has '000.wav', '001.wav'" in said
    assert "the table's name has 'rec_x' before it" in said


def test_whole_floats_are_folds(read):
    rows = "".join(
        f'{name},"{labels}",{i % 2}.0\n' for i, (name, labels) in enumerate(zip(NAMES, LABELS, strict=True))
    )
    _, table = read("fname,labels,fold\n" + rows)
    assert table.clips["fold"].tolist() == [0, 1] * 4


def test_copies_are_one_group_and_what_they_spoil_is_named(read, tmp_path):
    read(TABLE)
    for copy in ("c1.wav", "c2.wav"):
        shutil.copy(tmp_path / "audio" / "000.wav", tmp_path / "audio" / copy)
    _, table = read(TABLE + "c1.wav,dog\nc2.wav,cat\n", NAMES)
    rows = table.clips[table.clips["fname"].isin(["000.wav", "c1.wav", "c2.wav"])]
    assert rows["group"].unique().tolist() == ["copies of audio/000.wav"]
    assert rows["fold"].nunique() == 1
    assert (table.clips["group"] == "").sum() == 7
    assert set(told(table)) == {"copies", "copies-labels"}
    assert (
        "1 recording has several names (000.wav = c1.wav = c2.wav); copies are one group" in told(table)["copies"]
    )
    given = "fname,labels,fold\n" + "".join(
        f'{name},"{labels}",{i % 2}\n'
        for i, (name, labels) in enumerate([*zip(NAMES, LABELS, strict=True), ("c1.wav", "dog"), ("c2.wav", "dog")])
    )
    _, table = read(given)
    assert set(told(table)) == {"copies", "copies-folds"}
    assert "--fold-method group" in told(table)["copies-folds"]
    _, table = read(given, fold_method="group")
    assert set(told(table)) == {"copies"}


def test_silent_recordings_are_no_copies(read, tmp_path):
    read(TABLE)
    for name in NAMES[:4]:
        soundfile.write(tmp_path / "audio" / name, np.zeros(800), 8000)
    table = load(tmp_path, n_folds=2)
    assert (table.clips["group"] == "").all()


def test_copies_join_the_groups_that_a_table_has(read, tmp_path):
    read(TABLE)
    shutil.copy(tmp_path / "audio" / "000.wav", tmp_path / "audio" / "001.wav")
    rows = "".join(f'{name},"{labels}",s{i}\n' for i, (name, labels) in enumerate(zip(NAMES, LABELS, strict=True)))
    (tmp_path / "clips.csv").write_text("fname,labels,group\n" + rows)
    table = load(tmp_path, n_folds=2)
    assert table.clips["group"].tolist()[:3] == ["s0 + s1", "s0 + s1", "s2"]


def test_a_table_that_is_not_recognised_is_described(tmp_path):
    (tmp_path / "clips.csv").write_text("a.wav;dog\nb.wav;cat\n")
    (tmp_path / "clips.xlsx").touch()
    with pytest.raises(
        DatasetError, match=r"clips.csv has the columns 'a.wav', 'dog'. Save the spreadsheet as CSV"
    ):
        load(tmp_path)
