"""Dataset folders, written file by file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

Content = str | bytes | float | None
MakeFolder = Callable[[Mapping[str, Content]], Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes {name: content}: text or bytes as they are, a number as that many seconds of audio, None a folder."""

    def make(files: Mapping[str, Content], at: str = "data") -> Path:
        root = tmp_path / at
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir(exist_ok=True)
            elif isinstance(content, str):
                path.write_text(content, encoding="utf-8", newline="")
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                soundfile.write(path, np.zeros(round(content * 8000)), 8000)
        return root

    return make


@pytest.fixture
def competition() -> dict[str, Content]:
    """A small FSDKaggle2019 folder: 6 curated, 2 noisy and 2 test clips of the classes Zither, Bark, Meow."""
    return {
        "train_curated.csv": 'fname,labels\nc1.wav,Bark\nc2.wav,Meow\nc3.wav,"Meow,Bark"\nc4.wav,Zither\n'
        "c5.wav,Bark\nc6.wav,Zither\n",
        **{f"train_curated/c{i}.wav": i / 8 for i in range(1, 7)},
        "train_noisy.csv": 'fname,labels\nn1.wav,"Bark,Zither"\nn2.wav,Meow\n',
        "train_noisy/n1.wav": 0.5,
        "train_noisy/n2.wav": 0.5,
        "sample_submission.csv": "fname,Zither,Bark,Meow\nt2.wav,0,0,0\nt1.wav,0,0,0\n",
        "test/t1.wav": 1.0,
        "test/t2.wav": 2.0,
    }
