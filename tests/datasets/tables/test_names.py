"""Files that are listed below a folder."""

from __future__ import annotations

import os

import pytest

from raytag.datasets.findings import DatasetError
from raytag.datasets.tables.names import audio_files_below


def test_a_folder_that_cannot_be_read_is_an_error_and_one_that_is_not_there_holds_nothing(tmp_path, monkeypatch):
    for name in ("a.wav", "deep/b.FLAC", "deep/shut/c.ogg", ".hidden/d.wav", "deep/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert audio_files_below(tmp_path) == ["a.wav", "deep/b.FLAC", "deep/shut/c.ogg"]
    assert audio_files_below(tmp_path / "nowhere") == audio_files_below(tmp_path / "a.wav") == []
    scandir = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root may read any
    with pytest.raises(DatasetError, match=r"deep/shut: the folder cannot be read \(Permission denied\).*readable"):
        audio_files_below(tmp_path)
