"""The fields of ex4sperans's hierarchical networks (`raytag.models.nets.hierarchical`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from raytag import parts
from raytag.space.distributions import Distribution, choice, uniform

if TYPE_CHECKING:
    from torch import nn


class TwoDimensionalCNN(parts.Network):
    """Blocks of convolutions in time and frequency; a classifier reads the features of several of them."""

    takes_lengths: ClassVar[bool] = True
    worth_varying: ClassVar[Mapping[str, Distribution]] = {
        "dropout": uniform(0.0, 0.7),
        "base_size": choice([50, 64, 100]),
        "aggregation": choice(["max", "rnn"]),
    }

    blocks: int = Field(5, ge=1)  # each halves time and frequency
    base_size: int = Field(50, ge=1)  # channels of the first block
    growth: float = Field(1.5, ge=1)  # from a block's channels to the next one's, rounded down
    first_read: int = Field(1, ge=0)  # number of the first block that is classified, counted from 0
    aggregation: Literal["max", "rnn"] = "max"  # of a block's features: their maxima, or a recurrent layer
    dropout: float = Field(0.5, ge=0, lt=1)  # before the classifier's last layer

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.first_read >= self.blocks:
            raise ValueError(
                f"first_read {self.first_read} is no block: of {self.blocks} blocks the last is {self.blocks - 1}"
            )
        return self

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import hierarchical

        return hierarchical.HierarchicalCNN(num_classes, channels, flat=self.bands_are_channels, **self.fields())


class HierarchicalCNN(TwoDimensionalCNN):
    """The same in time alone: every band is a channel."""

    bands_are_channels: ClassVar[bool] = True
    tried_on: ClassVar[tuple[tuple[int, ...], ...]] = ((129, 48), (129, 31), (129, 256))
