"""The default space on the plainest data there are: a CSV beside 8 kHz recordings, without noisy clips or folds."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from raytag.search.options import LaunchOptions
from raytag.search.start import start
from tests.cli import SMALL, call
from tests.recordings import make_plain_folder

FIXED = "The data have no noisy clips: sampling.noisy_prob is fixed at 0 (the space varies it over 0, 0.1, 0.2)\n"


def test_eight_experiments_of_the_default_space_all_finish(tmp_path, ray_session):
    """argus-freesound's random searches do not run as they were published."""
    make_plain_folder(tmp_path / "recordings")
    one_fold = ["--n-folds", "2", "--only-folds", "0", "--epochs", "1"]
    code, output = call("launch.py", "--data", "recordings", *one_fold, *SMALL, cwd=tmp_path)
    assert code == 0, output
    assert output.count(FIXED) == output.count("no noisy clips") == 1
    assert output.count("Most recordings have at most 8000 Hz") == 1
    assert "failed" not in output
    board = pd.read_csv(tmp_path / "runs/specaug_mixup-recordings/leaderboard.csv")
    assert len(board) == 8
    assert board["fold_0"].notna().all()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    return make_plain_folder(tmp_path_factory.mktemp("plain") / "recordings")


@pytest.mark.parametrize("search", ["random", "grid", "hyperopt"])
def test_a_dry_run_of_every_search_says_the_same(recordings, search):
    console = Console(file=io.StringIO(), width=500)
    small = ("model.base_size=2", "input.crop_frames=32", "training.batch_size=4")
    options = LaunchOptions(data=recordings, search=search, dry_run=True, set=small)
    assert start(options, console) == 0
    said = console.file.getvalue()
    assert said.count(FIXED) == 1
    assert said.count("\nspecaug_mixup-") == 8
    assert "sampling.noisy_prob=" not in said
