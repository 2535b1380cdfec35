"""Choosing a class by name and giving it the fields that it takes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from raytag import registry


@dataclass
class Lion:
    mane: int = 1


@dataclass
class SnowLeopard:
    spots: int = 2
    tail: float = 0.9


CATS = {"Lion": f"{__name__}:Lion", "SnowLeopard": f"{__name__}:SnowLeopard"}


def test_each_class_is_given_what_it_takes() -> None:
    fields = {"mane": 5, "spots": 7}
    assert registry.build("cat", CATS, "lion", fields) == Lion(mane=5)
    assert registry.build("cat", CATS, "snow_leopard", fields) == SnowLeopard(spots=7)
    assert registry.build("cat", CATS, "SNOWLEOPARD", {}) == SnowLeopard()
    assert registry.build("cat", CATS, "Lion", {"den": 1}, also=["den"]) == Lion()


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("snowleopart", {}, "no cat is called 'snowleopart'; did you mean SnowLeopard?"),
        ("dog", {}, "no cat is called 'dog'; there are Lion, SnowLeopard"),
        ("Lion", {"main": 1}, "no cat has a field 'main'; did you mean mane?"),
        ("Lion", {"wings": 2}, "no cat has a field 'wings'; there are den, mane, spots, tail"),
    ],
)
def test_errors_name_the_nearest(name: str, fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match="no cat") as caught:
        registry.build("cat", CATS, name, fields, also=["den"])
    assert str(caught.value) == message
