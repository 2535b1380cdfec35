"""Dataset folders, written file by file."""

from __future__ import annotations

import json
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


@pytest.fixture
def published() -> dict[str, Content]:
    """The same dataset as it was published: 2 curated clips, 1 noisy clip and 2 test clips with labels."""
    meta, audio = "FSDKaggle2019.meta", "FSDKaggle2019.audio"
    return {
        f"{meta}/train_curated_post_competition.csv": "fname,labels,freesound_id,license\n"
        'a.wav,"B,A",1,CC0\nb.wav,A,2,CC0\n',
        f"{meta}/train_noisy_post_competition.csv": "fname,labels,flickr_video_URL,license\nn.wav,C,u,CC0\n",
        f"{meta}/test_post_competition.csv": "fname,labels,usage,freesound_id,license\n"
        "y.wav,A,Public,3,CC0\nx.wav,B,Private,4,CC0\n",
        f"{audio}_train_curated/a.wav": 0.5,
        f"{audio}_train_curated/b.wav": 0.5,
        f"{audio}_train_noisy/n.wav": 0.5,
        f"{audio}_test/x.wav": 0.5,
        f"{audio}_test/y.wav": 0.5,
    }


@pytest.fixture
def esc50() -> dict[str, Content]:
    """ESC-50 with 4 clips of the classes y and x in the folds 1 and 2."""
    clips = [(f"{f}-{i}-A-{i}.wav", f, i, name) for f in (1, 2) for i, name in enumerate("yx")]
    rows = "".join(f"{fname},{f},{i},{name},False,{f}{i},A\n" for fname, f, i, name in clips)
    return {
        "meta/esc50.csv": "filename,fold,target,category,esc10,src_file,take\n" + rows,
        **{f"audio/{fname}": 0.5 for fname, *_ in clips},
    }


@pytest.fixture
def one_csv() -> dict[str, Content]:
    """One CSV with given folds beside the folder of its 4 recordings."""
    return {
        "birds.csv": 'fname,labels,fold,group\na.wav,"Wren,Owl",1,s1\nb.wav,Owl,1,s1\n'
        "c.wav,Wren,2,\nd.wav,Owl,2,\n",
        **{f"audio/{name}.wav": 0.5 for name in "abcd"},
    }


@pytest.fixture
def fsd50k() -> dict[str, Content]:
    """FSD50K's tables and folders with 4 clips for development and 1 for evaluation."""
    truth = "FSD50K.ground_truth"
    rows = (("101", "Bark,Dog,Animal", "train"), ("102", "Meow,Animal", "val"), ("103", "Dog,Animal", "train"))
    info = {fname: {"title": "t", "tags": [], "uploader": name} for fname, name in zip("123", "aab", strict=True)}
    return {
        f"{truth}/dev.csv": "fname,labels,mids,split\n"
        + "".join(f'{fname},"{labels}","/m/0,/m/1",{split}\n' for fname, labels, split in rows)
        + "104,Meow,/m/2,train\n",
        f"{truth}/eval.csv": 'fname,labels,mids\n201,"Dog,Animal","/m/0,/m/1"\n',
        f"{truth}/vocabulary.csv": "0,Animal,/m/0\n1,Bark,/m/1\n2,Dog,/m/2\n3,Meow,/m/3\n",
        "FSD50K.metadata/dev_clips_info_FSD50K.json": json.dumps({f"10{k}": v for k, v in info.items()}),
        **{f"FSD50K.dev_audio/10{i}.wav": 0.5 for i in range(1, 5)},
        "FSD50K.eval_audio/201.wav": 0.5,
    }


@pytest.fixture
def birdclef() -> dict[str, Content]:
    """BirdCLEF's table and folders as from 2022 on: 4 recordings of 3 species."""
    rows = (
        ("afrsil1", "[]", "afrsil1/XC1.wav", "4.5"),
        ("afrsil1", "['barswa', 'zzz']", "afrsil1/XC2.wav", "1.5"),
        ("barswa", "['afrsil1']", "barswa/XC3.wav", "0.0"),
        ("comsan", "['']", "comsan/XC4.wav", "5.0"),
    )
    lines = [f"{label},\"{more}\",['song'],-1.5,36.8,{fname},{rating}" for label, more, fname, rating in rows]
    return {
        "train_metadata.csv": "primary_label,secondary_labels,type,latitude,longitude,filename,rating\n"
        + "\n".join(lines)
        + "\n",
        "sample_submission.csv": "row_id,comsan,barswa,afrsil1\nsoundscape_1_5,0.1,0.1,0.1\n",
        **{f"train_audio/{fname}": 0.5 for _, _, fname, _ in rows},
    }
