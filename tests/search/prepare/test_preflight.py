"""What is refused, fixed or said before anything trains."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn

from raytag import models, parts, plugins, space
from raytag.batch import Outputs
from raytag.datasets.table import COLUMNS, ClipTable
from raytag.experiment import Experiment, Features, Init, Model, Pseudo
from raytag.features.cache import CacheError
from raytag.models.skip_attention import AuxSkipAttention
from raytag.search.options import LaunchOptions
from raytag.search.prepare import preflight
from raytag.search.prepare.dry_run import dry_run
from raytag.search.prepare.plan import make_plan
from raytag.search.prepare.preflight import PreflightError
from raytag.space import Space, choice, uniform

BASE = Experiment(model=Model(base_size=2)).replace({"input.crop_frames": 32, "training.batch_size": 4})


def make_table(noisy: int = 0, rate: int = 44100) -> ClipTable:
    """Twelve curated clips of two classes and three folds, and some noisy ones."""
    rows = [(f"c{i}.wav", "ab"[i % 2], "curated", i // 2 % 3) for i in range(12)]
    rows += [(f"n{i}.wav", "a", "noisy", -1) for i in range(noisy)]
    clips = pd.DataFrame(rows, columns=["clip", "labels", "subset", "fold"])
    clips = clips.assign(fname=clips["clip"], path="", group="", duration=1.0, rate=rate)
    return ClipTable(clips.astype(COLUMNS), ("a", "b"), Path("data"), "test")


def make_space(vary=None, base=BASE, experiments=()) -> Space:
    if experiments:
        return Space("small", "small.py", tuple(experiments))
    return Space.of("small", "small.py", base, vary or {})


def prepare(chosen: Space, table: ClipTable | None = None, **options) -> tuple[Space, str]:
    """The space that is left and everything that was said."""
    console = Console(file=io.StringIO(), width=500)
    table = make_table() if table is None else table
    given = LaunchOptions(**options)
    fitted = preflight.prepare(given, chosen.fix(given.changes()), table, [0, 1, 2], console)
    make_plan(given, fitted, table, [0, 1, 2], console)
    return fitted, console.file.getvalue()


@pytest.fixture
def corrections(tmp_path):
    def write(labels: dict[str, str]) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps(labels))
        return str(path)

    return write


@pytest.mark.parametrize("search", ["random", "grid", "hyperopt"])
@pytest.mark.parametrize("limits", [{}, {"num_samples": 30}, {"time_budget": "1h"}])
def test_the_shipped_space_runs_on_data_without_noisy_clips(search, limits):
    fitted, said = prepare(space.load("specaug_mixup"), search=search, set=("model.base_size=2",), **limits)
    assert "sampling.noisy_prob" not in fitted.varied
    assert said.count("sampling.noisy_prob is fixed at 0") == said.count("\n") == 1


def test_nothing_is_said_of_data_that_have_all(capsys):
    chosen = space.load("specaug_mixup").fix({"model.base_size": 2, "training.seed": 0})
    assert prepare(chosen, make_table(noisy=3)) == (chosen, "")


REFUSED = {
    "4 outputs but loss.aux_weights has 1 .* Mend it with --set loss.aux_weights=.1,0.4,0.2,0.1.": {
        "loss.aux_weights": (1.0,)
    },
    r"needs at least 16 of each\. Mend it with --set features.n_mels=": {"features.n_mels": 8},
    "n_fft must be an even number .* Mend it with --set features.": {"features.n_fft": 2561},
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_base_that_cannot_run_is_refused(words):
    chosen = make_space(base=BASE.replace(REFUSED[words]))
    with pytest.raises(PreflightError, match=f"(?i)^The base experiment of small cannot run: .*{words}"):
        preflight.check_space(chosen, make_table(), [0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "noisy", "changes", "words"),
    [
        ({"c0.wav": "remove", "c1.wav": "remove", "c6.wav": "remove", "c7.wav": "remove"}, 0, {},
         "fold 0 has 8 training and 0 validation clips. Mend it with --set sampling.{}=none"),
        ({"zz.wav": "remove"}, 0, {}, "no curated clip is named 'zz.wav'.* Mend it with --set sampling.{}=none"),
        ({"n0.wav": "remove"}, 2, {"sampling.corrected_noisy_prob": 0.5},
         "no corrected_noisy clips. Mend it with --set sampling.corrected_noisy_prob=0$"),
        ({"zz.wav": "a"}, 2, {"sampling.corrected_noisy_prob": 0.5},
         "named 'zz.wav'.* Mend it with --set sampling.{}=none --set sampling.corrected_noisy_prob=0"),
        ({"n0.wav": "remove", "n1.wav": "remove"}, 2, {"sampling.noisy_prob": 0.5},
         "no noisy clips. Mend it with --set sampling.noisy_prob=0 or --set sampling.{}=none"),
    ],
)  # fmt: skip
def test_corrections_that_leave_nothing_are_refused(corrections, labels, noisy, changes, words):
    name = "noisy_corrections" if noisy else "curated_corrections"
    chosen = make_space(base=BASE.replace({f"sampling.{name}": corrections(labels), **changes}))
    with pytest.raises(PreflightError, match=words.format(name)):
        preflight.check_space(chosen, make_table(noisy), [0, 1, 2])


def test_a_value_of_vary_is_named_with_the_one_that_works():
    chosen = make_space({"features.n_mels": choice([64, 8]), "optimizer.lr": uniform(0.1, 0.2)})
    words = r"^VARY\['features\.n_mels'\] = 8 in small\.py cannot run: .* --set features\.n_mels=128, or take"
    with pytest.raises(PreflightError, match=words):
        preflight.check_space(chosen, make_table(), [0, 1, 2])


def test_what_a_varied_name_draws_is_looked_at(monkeypatch):
    monkeypatch.setitem(models.MODELS, "Faulty", f"{__name__}:Faulty")
    chosen = make_space({"model.name": choice(["AuxSkipAttention", "Faulty"]), "model.base_size": choice([2])})
    with pytest.raises(PreflightError, match=r"^What is drawn with model\.name=Faulty in small\.py cannot run"):
        preflight.check_space(chosen, make_table(), [0])


def test_every_experiment_of_a_list_is_looked_at():
    listed = [BASE, BASE.replace({"features.n_mels": 8}).model_copy(update={"name": "second"})]
    with pytest.raises(PreflightError, match=r"^Experiment second-\w+ of small\.py cannot run: images are 8 bands"):
        preflight.check_space(make_space(experiments=listed), make_table(), [0, 1, 2])


def test_two_fields_that_exclude_each_other_are_found_before_they_are_drawn():
    vary = {"input.crop_frames": choice([32, 64]), "input.tile_step": choice([16, 64])}
    words = r"= 32 with VARY\[.input\.tile_step.\] = 64 in .*lost\. Mend it with --set input\.crop_frames=64"
    with pytest.raises(PreflightError, match=words):
        preflight.check_space(make_space(vary, BASE.replace({"input.crop_frames": 64})), make_table(), [0, 1, 2])


def test_a_fold_that_lost_its_noisy_clips_on_the_way_is_refused():
    """Clips that turn out unusable leave the table only after the space was fitted to it."""
    table = make_table(noisy=2)
    chosen, _ = prepare(make_space({"sampling.noisy_prob": choice([0.0, 0.2])}), table)
    with pytest.raises(PreflightError, match=r"0\.2 in small\.py .* Mend it with --set sampling\.noisy_prob=0, or"):
        preflight.check_space(chosen, table.drop(["n0.wav", "n1.wav"]), [0, 1, 2])


class Faulty(parts.Network):
    base_size: int = 1

    def build(self, num_classes, channels):
        return FaultyNet((1, num_classes + 1) if self.base_size == 1 else (1, num_classes))


class FaultyNet(nn.Module):
    def __init__(self, shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return Outputs(torch.full(self.shape, float("nan")))


@pytest.mark.parametrize(("base_size", "shape"), [(1, "(1, 3)"), (2, "(1, 2)")])
def test_logits_must_have_the_right_shape_and_be_finite(monkeypatch, base_size, shape):
    monkeypatch.setitem(models.MODELS, "Faulty", f"{__name__}:Faulty")
    chosen = make_space(base=BASE.replace({"model.name": "Faulty", "model.base_size": base_size}))
    with pytest.raises(PreflightError) as error:
        preflight.check_space(chosen, make_table(), [0])
    assert f"128 bands x 32 frames the network gives {shape}, not finite logits (1, 2)" in str(error.value)


OWN = """
from torch import nn
from raytag import parts
from raytag.batch import Outputs
from raytag.losses.base import LossOfLabels

class Own{n}(parts.Network):
    builds: bool = True

    def build(self, num_classes, channels):
        return OwnNet(num_classes if self.builds else None)

class OwnNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, x):
        return Outputs(self.head(x.mean((2, 3)).permute({axes})))

class OwnLoss{n}(LossOfLabels):
    def of_labels(self, logits, labels, weights, noisy):
        return {loss}
"""


@pytest.mark.parametrize(
    ("axes", "loss", "changes", "words"),
    [
        (
            "0, 1, 2",
            "logits.mean()",
            {},
            r"own\.py:19: RuntimeError: .* Mend it with a change of that line, or --set",
        ),
        ("'x'", "logits.mean()", {}, r"own\.py:19: TypeError: "),
        (
            "0, 1",
            "logits.mean()",
            {"model.builds": False},
            r"own\.py:16: TypeError: .* Mend it with .*--set model\.",
        ),
        (
            "0, 1",
            "1 / 0",
            {},
            r"own\.py:23: ZeroDivisionError: division by zero\. Mend .* or --set loss\.aux_we",
        ),
    ],
)
def test_whatever_fails_in_a_users_own_code_is_told_with_its_line(tmp_path, axes, loss, changes, words):
    n = abs(hash((axes, loss, str(changes))))
    (tmp_path / "own.py").write_text(OWN.format(n=n, axes=axes, loss=loss))
    names = {"model.name": f"Own{n}", "loss.name": f"OwnLoss{n}"}
    plugins.load(tmp_path / "own.py")
    with pytest.raises(PreflightError, match=f"The base experiment of small cannot run: {tmp_path}/{words}"):
        preflight.check_space(make_space(base=BASE.replace(names | changes)), make_table(), [0])


def test_one_forward_pass_serves_what_changes_no_shape(monkeypatch):
    built = []
    build = AuxSkipAttention.build
    monkeypatch.setattr(AuxSkipAttention, "build", lambda self, *n: built.append(self.base_size) or build(self, *n))
    preflight.check_space(
        make_space({"model.dropout": uniform(0.1, 0.5), "model.base_size": choice([2, 4])}), make_table(), [0]
    )
    assert built == [2, 4]


ONE_FIELD = {"training.batch_size": choice([4, 8])}


@pytest.mark.parametrize(
    ("chosen", "search", "words"),
    [
        (
            make_space(ONE_FIELD),
            "random",
            "8 random draws are only 2 different experiments; --search grid repeats none",
        ),
        (make_space(ONE_FIELD), "grid", "The grid has only 2 of the 8 experiments wanted"),
        (make_space(ONE_FIELD), "hyperopt", "The space has only 2 of the 8 experiments wanted"),
        (make_space(), "random", "The space has only 1 of the 8 experiments wanted"),
        (
            make_space(experiments=[BASE, BASE.replace({"model.base_size": 4})]),
            "random",
            "The space has only 2 of the 8",
        ),
    ],
)
def test_fewer_experiments_than_wanted_are_said(chosen, search, words):
    assert words in prepare(chosen, search=search, num_samples=8)[1]
    assert prepare(chosen, search=search, num_samples=1)[1] == ""


def test_all_experiments_of_a_list_are_wanted_where_no_number_is_given():
    listed = make_space(experiments=[BASE.replace({"model.dropout": 0.01 * i}) for i in range(12)])
    for chosen, number in ((listed, 12), (make_space(), 1), (make_space(ONE_FIELD), 8)):
        assert LaunchOptions().number(chosen) == number
        assert LaunchOptions(num_samples=3).number(chosen) == 3
        assert LaunchOptions(time_budget="2h").number(chosen) is None
        assert LaunchOptions(time_budget="2h", num_samples=30).number(chosen) == 30
    assert prepare(listed)[1] == prepare(make_space())[1] == ""


def test_a_grid_whose_only_field_the_data_cannot_use_says_what_is_left():
    chosen = make_space({"sampling.noisy_prob": choice([0.0, 0.2])})
    _, said = prepare(chosen, search="grid", num_samples=8)
    assert said.splitlines()[1] == "The grid has only 1 of the 8 experiments wanted"


def test_a_low_sample_rate_is_said_once_with_settings_that_work():
    said = prepare(make_space(), make_table(rate=8000), num_samples=1)[1]
    assert said.startswith("Most recordings have at most 8000 Hz: bands above 4000 Hz are empty.")
    settings = dict(item.split("=") for item in said.split() if "=" in item)
    advised = Experiment().replace(settings).features
    assert changed(advised) == (8000, 4000.0, 464, 125)
    advised.check()
    assert preflight.low_rate(make_table(rate=8000), advised) == []
    assert preflight.low_rate(make_table(rate=32000), Features()) == []
    assert preflight.low_rate(make_table(rate=0), Features()) == []


def changed(features: Features) -> tuple:
    return features.sample_rate, features.fmax, features.n_fft, features.hop_length


def test_a_single_class_is_refused():
    table = replace(make_table(), classes=("a",))
    with pytest.raises(PreflightError, match="one class only, 'a': lwlrap ranks the classes of a clip, so it is 1"):
        prepare(make_space(), table)


def test_a_dry_run_refuses_what_the_launch_will_refuse():
    table = make_table()
    table.clips.loc[0, "duration"] = np.nan
    start = SimpleNamespace(table=table, plan=None)
    console = Console(file=io.StringIO(), width=500)
    with pytest.raises(
        CacheError, match=r"1 of 12 curated clips are unusable \(8.3%, more than .* missing or unread"
    ):
        dry_run(LaunchOptions(), start, console)
    table.clips.loc[0, "subset"] = "test"
    with pytest.raises(AttributeError):  # goes on to the plan: test clips stop nothing
        dry_run(LaunchOptions(), SimpleNamespace(table=table, plan=None), console)
    assert "1 of 1 test clips are unusable" in console.file.getvalue()


def test_stages_are_explained_and_weights_that_do_not_fit_are_refused(tmp_path):
    parent = BASE.replace({"training.seed": 1, "training.keep_epoch": "best"})
    child = Experiment.model_validate(
        {**BASE.fields(), "name": "child", "init": Init("ParentWeights", parent=parent)}
    )
    fitted, said = prepare(make_space(base=child))
    assert fitted.first.parents[0].training.seed == 0  # of the launch, as for every experiment
    assert "2 stages (stage 1: 1 experiment (experiment-" in said
    assert "is chosen by the score on the very fold" in said
    assert "begins with" not in said  # all weights are taken
    with pytest.raises(PreflightError, match=r"would not be set.*init\.take=backbone.*--set init\.name=Fresh"):
        prepare(make_space(base=child.replace({"model.last_fc": 1})))
    _, said = prepare(make_space(base=child.replace({"model.last_fc": 1, "init.take": "backbone"})))
    assert re.search(r"begins with \d+ weights of experiment-\w+; drawn afresh: \d+ weights \(head", said)


def test_a_file_of_weights_is_held_against_the_network(tmp_path):
    from raytag.models.tagger import tagger

    state = tagger(BASE, 2).state_dict()
    torch.save({"module." + name: value for name, value in state.items()}, tmp_path / "mine.pt")
    torch.save({"stem.weight": torch.ones(2)}, tmp_path / "other.pt")
    mine = BASE.replace({"init.name": "WeightsFile", "init.file": str(tmp_path / "mine.pt")})
    with pytest.raises(
        PreflightError, match=r"mine\.pt: none of its weights fits the network; the file has .*init\.rename"
    ):
        prepare(make_space(base=mine))
    _, said = prepare(make_space(base=mine.replace({"init.rename": {"module.": ""}})))
    assert "mine.pt come from outside" in said
    with pytest.raises(PreflightError, match=r"other\.pt: none of its weights"):
        prepare(make_space(base=mine.replace({"init.file": str(tmp_path / "other.pt")})))


def test_what_is_leaky_is_said_before_anything_trains():
    leaky = Pseudo("Top", parent=BASE, reader="oof")
    child = Experiment.model_validate({**BASE.replace({"sampling.noisy_prob": 0.5}).fields(), "pseudo": leaky})
    _, said = prepare(make_space(base=child), make_table(noisy=3))
    assert "1 leaky experiment (experiment-" in said


def test_inner_models_that_would_have_no_fold_to_train_on_are_refused():
    def child(parent):
        pseudo = Pseudo("Top", parent=parent, reader="cross_fit")
        return Experiment.model_validate({**BASE.replace({"sampling.noisy_prob": 0.5}).fields(), "pseudo": pseudo})

    prepare(make_space(base=child(BASE)), make_table(noisy=3))
    with pytest.raises(PreflightError, match=r"leaves no fold to train on\. Mend it with --n-folds 4 or more"):
        prepare(make_space(base=child(child(BASE))), make_table(noisy=3))


def test_corrections_are_counted_on_screen(corrections):
    base = BASE.replace(
        {
            "sampling.noisy_prob": 0.2,
            "sampling.noisy_corrections": corrections({"n0.wav": "remove", "n1.wav": "b", "n2.wav": "remove"}),
            "sampling.curated_corrections": corrections({"c0.wav": "b"}),
        }
    )
    _, said = prepare(make_space(base=base), make_table(noisy=4))
    assert re.search(r"Corrections \S+: 0 curated clips are removed and 1 relabelled", said)
    assert re.search(r"Corrections \S+: 2 noisy clips are removed and 1 relabelled", said)


def test_an_earlier_experiment_that_cannot_run_is_refused():
    parent = BASE.replace({"features.n_mels": 8})
    child = Experiment.model_validate({**BASE.fields(), "init": Init("ParentWeights", parent=parent)})
    with pytest.raises(PreflightError, match=r"^The earlier experiment experiment-\w+ of small\.py cannot run"):
        prepare(make_space(base=child))
