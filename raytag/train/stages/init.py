"""Where the weights of a training begin: drawn, an earlier experiment's, or a file's."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from raytag import parts
from raytag.experiment import OutsideFile
from raytag.train.stages.parent import Parent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from raytag.train.stages.reading import Reading


class Fresh(parts.Init):
    """Drawn from the seed."""

    def begin(self, network: nn.Module, read: Any) -> dict[str, Any]:
        return {}


class Taken(parts.Init):
    """Weights that were trained before."""

    take: Literal["all", "backbone"] = "all"
    # all: every weight must be there in its shape; backbone: those that fit are taken, the others are drawn afresh

    @abstractmethod
    def weights(self, read: Reading) -> tuple[str, Mapping[str, Tensor]]:
        """Where they come from, and the tensors by the names of the network's."""

    def begin(self, network: nn.Module, read: Reading) -> dict[str, Any]:
        from raytag.train.stages.state import fit

        origin, tensors = self.weights(read)
        found = fit(network.state_dict(), tensors)
        if words := found.refusal(self.take == "all"):
            raise ValueError(f"{origin}: {words}")
        network.load_state_dict(found.taken, strict=False)
        return {"from": origin, "taken": len(found.taken), "fresh": found.fresh, "unused": found.unused}


class ParentWeights(Taken):
    """Those with which the parent's model of the same fold predicts."""

    parent: Parent

    def weights(self, read: Reading) -> tuple[str, Mapping[str, Tensor]]:
        return read.weights()


def _file(value: Any) -> Any:
    if not isinstance(value, str | Path):
        return value
    try:
        with open(value, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"weights file {value}: {error.strerror}") from None
    return OutsideFile(file=str(Path(value).absolute()), sha256=digest)


class WeightsFile(Taken):
    """A user's own: a state dict in a file of safetensors, or one of torch that holds nothing but tensors.

    raytag cannot know on which clips they were trained: where they have seen clips of these data, scores are no
    out-of-fold scores.
    """

    file: Annotated[OutsideFile, BeforeValidator(_file)]  # given as a path; its content counts
    rename: Mapping[str, str] = Field(default_factory=dict)
    # beginning of a name in the file -> what the network calls it, e.g. {"module.": "", "features.": "blocks."};
    # the longest that fits counts

    def weights(self, read: Reading) -> tuple[str, Mapping[str, Tensor]]:
        from raytag.train.stages.state import read_state, renamed

        origin = f"weights file {self.file}"
        return origin, renamed(read_state(read.file(self.file), self.file.file), self.rename)
