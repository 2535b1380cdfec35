"""No front end: the network sees what the input gives."""

from __future__ import annotations

from typing import Any

from raytag import parts


class AsIs(parts.FrontEnd):
    """The network sees what the input gives."""

    def shape(self, features: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def build(self, features: Any) -> None:
        return None
