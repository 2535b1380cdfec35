"""State dicts of users: read without running anything, renamed, and every mismatch named."""

from __future__ import annotations

import io

import pytest
import torch
from safetensors.torch import save

from raytag.experiment import Init
from raytag.train.stages.state import fit, read_state, renamed

STATE = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2), "head.weight": torch.ones(5, 2)}


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Runs:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    "data",
    [save(STATE), saved(STATE), saved({"epoch": 3, "state_dict": STATE}), saved({"model": STATE, "optimizer": {}})],
    ids=["safetensors", "torch", "wrapped", "checkpoint"],
)
def test_files_of_safetensors_and_of_torch_give_the_same_tensors(data):
    found = read_state(data, "mine.pt")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_a_file_of_torch_from_before_zip_files_is_read():
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=False)
    assert read_state(buffer.getvalue(), "old.pt").keys() == STATE.keys()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not weights", "neither of safetensors nor of torch"),
        (b"", "neither of safetensors nor of torch"),
        (saved(STATE)[:400], "not a state dict"),
        (saved({"net": Runs()}), "without running code"),
        (saved({"a": 1, "b": STATE["a.bias"]}), "no tensors by name, but a, b"),
        (saved([1, 2]), "no tensors by name, but list"),
    ],
)
def test_what_is_no_state_dict_is_refused_and_nothing_is_run(data, words, capsys):
    with pytest.raises(ValueError, match=words) as error:
        read_state(data, "mine.pt")
    assert "mine.pt" in str(error.value)
    assert capsys.readouterr().out == ""


def test_names_are_mapped_by_how_they_begin_the_longest_first():
    found = renamed(STATE, {"a.": "blocks.", "a.b": "other.b", "": "net."})
    assert sorted(found) == ["blocks.weight", "net.head.weight", "other.bias"]
    with pytest.raises(ValueError, match=r"makes two weights 'a.weight'"):
        renamed({"a.weight": STATE["a.bias"], "b.weight": STATE["a.bias"]}, {"b.": "a."})


def test_every_mismatch_is_named():
    own = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(3), "c.weight": torch.zeros(1)}
    found = fit(own, STATE)
    assert list(found.taken) == ["a.weight"]
    assert found.fresh == ["a.bias ((2) there, (3) here)", "c.weight (not there)"]
    assert found.unused == ["head.weight"]
    assert "2 of the network's weights would not be set: a.bias ((2) there, (3) here), c.weight (not there)" in (
        found.refusal(whole=True)
    )
    assert "the file has 1 of other names: head.weight" in found.refusal(whole=True)
    many = fit({f"w{i}": torch.zeros(1) for i in range(30)} | {"a.bias": torch.zeros(2)}, STATE).refusal(whole=True)
    assert "w19 (not there) and 10 more" in many
    assert "init.take=backbone" in found.refusal(whole=True)
    assert found.refusal(whole=False) == ""
    assert "init.rename" in fit(own, {"x": STATE["a.bias"]}).refusal(whole=False)


def test_a_file_counts_by_its_content(tmp_path):
    a, b = tmp_path / "a.pt", tmp_path / "b.pt"
    a.write_bytes(saved(STATE))
    b.write_bytes(a.read_bytes())
    first, second = Init("WeightsFile", file=str(a)), Init("WeightsFile", file=b)
    assert first.file == second.file
    assert first.chosen()["file"]["sha256"] == first.file.sha256
    b.write_bytes(saved({"a": torch.ones(1)}))
    assert Init("WeightsFile", file=str(b)) != first
    with pytest.raises(ValueError, match=r"weights file .*none\.pt: No such file"):
        Init("WeightsFile", file=str(tmp_path / "none.pt"))
