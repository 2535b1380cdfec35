"""``raytag check``: what is understood is said, what would be wrong ends in 1, what cannot be used in 2."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile

from raytag.cli import main
from tests.recordings import make_folder, make_plain_folder

SMALL = ["--set", "features.sample_rate=8000", "--set", "features.fmax=4000", "--set", "features.n_fft=512"]


@pytest.fixture
def check(tmp_path, monkeypatch, capsys, ray_session):
    """Runs the command on the folder ``data``; gives its exit code and what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*options):
        code = main(["check", "data", *SMALL, *options])
        printed = capsys.readouterr()
        return code, printed.out if "--json" in options else printed.out + printed.err

    return run


def test_a_good_folder_is_described(tmp_path, check):
    make_plain_folder(tmp_path / "data")
    code, said = check("--n-folds", "2")
    assert code == 0
    for words in (
        "data (one CSV)",
        "table    labels.csv: commas, UTF-8",
        "12 curated",
        "classes  noise 6, tone 6",
        "channels 1 (12)",
        "levels   loudest band",
        "Nothing would make a search wrong",
    ):
        assert words in said
    _, again = check("--n-folds", "2")
    assert "12 clips cached, 0 to compute" in again  # what a launch would take up, too


def test_what_is_wrong_is_named_with_its_mend(tmp_path, check):
    root = make_plain_folder(tmp_path / "data")
    table = (root / "labels.csv").read_text().replace("00.wav,noise", "00.wav,Noise")
    (root / "labels.csv").write_text(table + "copy.wav,tone\n")
    shutil.copy(root / "audio" / "00.wav", root / "audio" / "copy.wav")
    samples, rate = soundfile.read(root / "audio" / "02.wav")
    soundfile.write(root / "audio" / "02.wav", np.stack([samples, -samples], axis=1), rate)
    soundfile.write(root / "audio" / "04.wav", np.zeros(rate), rate)
    code, said = check("--n-folds", "2")
    assert code == 1
    assert (
        "wrong    1 class is written in several ways ('Noise' once, first on labels.csv:2; 'noise' 5 times" in said
    )
    assert "wrong    1 recording has several names and other labels under each (00.wav = copy.wav)" in said
    assert "2 things would make a search wrong" in said
    code, text = check("--n-folds", "2", "--json")
    report = json.loads(text)
    assert code == 1
    codes = {finding["code"]: finding for finding in report["findings"]}
    assert {"labels-alike", "copies", "copies-labels", "channels", "unusable"} <= set(codes)
    assert codes["labels-alike"]["wrong"]
    assert report["classes"] == {"Noise": 1, "noise": 5, "tone": 7}
    assert [row["clip"] for row in report["unusable"]] == ["audio/04.wav"]


def test_the_same_sound_in_another_format_is_found(tmp_path, check):
    root = make_plain_folder(tmp_path / "data")
    samples, rate = soundfile.read(root / "audio" / "00.wav", dtype="int16")
    soundfile.write(root / "audio" / "copy.flac", samples, rate)
    lines = (root / "labels.csv").read_text().splitlines()
    rows = [f"{line},{i % 2}" for i, line in enumerate([*lines[1:], "copy.flac,noise"])]
    rows[-1] = "copy.flac,noise,1"
    (root / "labels.csv").write_text("\n".join([f"{lines[0]},fold", *rows]) + "\n")
    code, said = check()
    assert code == 1
    assert "1 sound is in several folds (audio/00.wav = audio/copy.flac) under several names" in said


def test_test_clips_unlike_training_are_named(tmp_path, check):
    root = make_folder(tmp_path / "data", clips=24, test=8)
    code, said = check()
    assert code == 0
    assert "Test clips can be told from curated ones with an AUC of" in said
    rng = np.random.default_rng(0)
    for i in range(8):
        soundfile.write(root / "test" / f"t{i}.wav", rng.normal(0, 0.001, 6000), 8000)
    _, said = check()
    assert "cross-validation and the test score may disagree" in said


def test_what_cannot_be_used_is_an_error(tmp_path, check, capsys):
    (tmp_path / "data").mkdir()
    with pytest.raises(SystemExit) as end:
        check()
    assert end.value.code == 2
    assert "no dataset that raytag knows" in capsys.readouterr().err
