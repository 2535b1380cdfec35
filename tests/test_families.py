"""Parts by name: a member has its own fields only, and identity knows what differs from the defaults alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
from pydantic import Field

from raytag.families import Family
from raytag.parts import Member, Network
from tests.members import experiment_with


class Cat(Member):
    weight: float = Field(4.0, gt=0)  # kg


class Lion(Cat):
    mane: int = 1


class SnowLeopard(Cat):
    spots: int = 2
    tail: tuple[float, float] = (0.9, 1.0)


CATS = {"Lion": f"{__name__}:Lion", "SnowLeopard": f"{__name__}:SnowLeopard"}
FAMILY: Family[Cat] = Family(Cat, "cat", f"{__name__}:CATS", "Lion")


def test_a_member_is_made_by_name_with_its_own_fields() -> None:
    assert FAMILY() == Lion()
    assert FAMILY("lion", mane=5) == Lion(mane=5)
    assert FAMILY("SNOW_leopard", tail=[0.5, 1]) == SnowLeopard(tail=(0.5, 1.0))
    assert FAMILY.parse({"name": "snowleopard", "spots": 7}) == SnowLeopard(spots=7)
    assert FAMILY.parse(SnowLeopard(spots=7)) == SnowLeopard(spots=7)
    assert SnowLeopard(spots=7).model_dump() == {
        "name": "SnowLeopard",
        "weight": 4.0,
        "spots": 7,
        "tail": (0.9, 1.0),
    }


def test_another_name_takes_its_own_defaults_for_what_is_not_said() -> None:
    heavy = Lion(weight=200, mane=9)
    assert FAMILY.changed(heavy, {"mane": 3}) == Lion(weight=200, mane=3)
    assert FAMILY.changed(heavy, {"name": "lion", "mane": 3}) == Lion(weight=200, mane=3)
    assert FAMILY.changed(heavy, {"name": "SnowLeopard"}) == SnowLeopard()
    assert FAMILY.changed(heavy, {"name": "SnowLeopard", "weight": 60}) == SnowLeopard(weight=60)


def test_what_is_chosen_is_what_differs() -> None:
    assert Lion().chosen() == {}
    assert Lion(weight=4, mane=1).chosen() == {}
    assert SnowLeopard(weight=60, tail=(0.5, 1)).chosen() == {"weight": 60.0, "tail": [0.5, 1.0]}


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("snowleopart", {}, "no cat is called 'snowleopart'; did you mean SnowLeopard?"),
        ("dog", {}, "no cat is called 'dog'; there are Lion, SnowLeopard"),
        ("Lion", {"main": 1}, "the cat Lion has no field 'main'; did you mean cat.mane?"),
        ("Lion", {"wings": 2}, "the cat Lion has no field 'wings'; there are weight, mane"),
        ("Lion", {"spots": 2}, "the cat Lion has no field 'spots'; SnowLeopard has it"),
        ("Lion", {"weight": 0}, "cat.weight: Input should be greater than 0 (given: 0)"),
    ],
)
def test_errors_name_the_member_and_the_field(name: str, fields: Mapping[str, int], message: str) -> None:
    with pytest.raises(ValueError, match="cat") as caught:
        FAMILY(name, **fields)
    assert str(caught.value) == message


class Stray(Member):
    pass


@pytest.mark.parametrize("value", [3, Stray(), "Lion"])
def test_what_is_no_member_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="cat"):
        FAMILY.parse(value)


def test_a_member_that_builds_nothing_cannot_be_made() -> None:
    """It is refused where an experiment is read, not in its trials."""

    class Empty(Network):
        width: int = 3

    with pytest.raises(TypeError, match=r"abstract.*build"):
        Empty()


def test_the_families_of_an_experiment_have_members_of_their_names() -> None:
    from raytag.experiment import FAMILIES, Experiment

    for name, family in FAMILIES.items():
        assert family.default in family.table
        for member in family.table:
            assert family.pick(member).__name__ == member
            experiment = experiment_with(name, member)
            again = Experiment.model_validate_json(experiment.to_json())
            assert (again, again.hash, getattr(again, name).name) == (experiment, experiment.hash, member)


def test_an_experiment_is_read_without_torch_and_without_kernels() -> None:
    import subprocess

    code = "import sys; from raytag import space; space.load('specaug_mixup'); "
    code += "print({'torch', 'numba'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
