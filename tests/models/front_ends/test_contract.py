"""The contract of `raytag.testing.front_ends` over all front ends, and that each of its promises can be broken."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raytag.experiment import FrontEnd
from raytag.models.front_ends import FRONT_ENDS
from raytag.parts import FrontEnd as Part
from raytag.testing.front_ends import check_front_end

TAKEN = {
    "AsIs": "22050, 8000, 3 x 128 x 256, 3 x 64 x 31, 1 x 40 x 50",
    "MagnitudeMel": "22050, 8000",
    "MagnitudeSTFT": "22050, 8000",
    "Mel": "22050, 8000",
    "STFT": "22050, 8000",
}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_front_end_keeps_the_contract(name: str) -> None:
    assert check_front_end(FrontEnd(name)) == TAKEN[name]


class Doubled(nn.Module):
    """Keeps the contract; those below break it in one place."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Longer(Doubled):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], dim=-1)


class Double(Doubled):
    def forward(self, x: Tensor) -> Tensor:
        return x.double()


class Relative(Doubled):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.std()


class InPlace(Doubled):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


class Noisy(Doubled):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(())


class Sociable(Doubled):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Weighing(Doubled):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))


class Keeping(Doubled):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gain", torch.ones(()))


class Drawn(Doubled):
    def __init__(self) -> None:
        super().__init__()
        self.gain = float(np.random.default_rng().uniform())

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


class Own(Part):
    module: Any
    least: int = 1

    def shape(self, features: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape[-1] < self.least:
            raise ValueError("too short")
        return shape

    def build(self, features: Any) -> nn.Module | None:
        found: nn.Module = self.module()
        return found


def test_what_is_refused_is_not_tried() -> None:
    assert check_front_end(Own(module=Doubled, least=100)) == "22050, 8000, 3 x 128 x 256"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Longer, r"\(22050,\) \(noise\): gives \(3, 44100\), and promises \(3, 22050\)"),
        (Double, "gives torch.float64, not float32"),
        (Relative, r"\(silence\): is not finite"),
        (InPlace, "writes into its input"),
        (Noisy, "other numbers the second time"),
        (Sociable, "depends on its batch"),
        (Weighing, "gain, gain: a front end has no weights"),
        (Keeping, r"gain: a front end has no weights \(buffers: persistent=False\)"),
        (Drawn, "another one with the same fields gives other numbers"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_front_end_is_told_what_it_breaks(bad: type[nn.Module], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_front_end(Own(module=bad))
    with pytest.raises(AssertionError, match="takes none of"):
        check_front_end(Own(module=bad, least=10**6))


class Padded(Own):
    takes_lengths: ClassVar[bool] = True


class Lengths(Doubled):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        return 2 * x if lengths is None else (2 * x, lengths)


class Miscounting(Doubled):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        return 2 * x if lengths is None else (2 * x, lengths + 1)


class Centred(Doubled):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred if lengths is None else (centred, lengths)


@pytest.mark.parametrize(
    ("bad", "message"),
    [(Miscounting, "8001 frames of 8000, and alone 8000"), (Centred, "depends on its padding")],
)
def test_padding_must_not_be_heard(bad: type[nn.Module], message: str) -> None:
    check_front_end(Padded(module=Lengths))
    with pytest.raises(AssertionError, match=message):
        check_front_end(Padded(module=bad), [(8000,)])
