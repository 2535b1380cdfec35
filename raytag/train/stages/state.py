"""State dicts from elsewhere: read without running anything, renamed, and held against a network's."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raytag.errors import DamagedError
from raytag.store.fold import load_tensors

#: Names that a message has at most; the result of a fold has all.
MOST = 20
#: Under which key training scripts put the weights among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")


@dataclass(frozen=True)
class Fit:
    """What of given tensors a network can take.

    Attributes
    ----------
    taken : dict of str to Tensor
        Of the network's names and shapes.
    fresh : list of str
        Names of the network that keep what they have, each with the reason.
    unused : list of str
        Names that were given and that the network does not have.
    """

    taken: dict[str, Tensor]
    fresh: list[str]
    unused: list[str]

    def refusal(self, whole: bool) -> str:
        """Why these weights are not taken, "" where they are: ``whole`` asks for every tensor of the network."""
        if not self.taken:
            reason = "none of its weights fits the network"
        elif whole and self.fresh:
            reason = f"{len(self.fresh)} of the network's weights would not be set: {_listed(self.fresh)}"
        else:
            return ""
        also = f"; the file has {len(self.unused)} of other names: {_listed(self.unused)}" if self.unused else ""
        way = "init.take=backbone takes what fits" if self.taken else "init.rename says what they are called there"
        return f"{reason}{also}. {way}"


def fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Fit:
    """Hold given tensors against those of a network, ``own``."""
    taken, fresh = {}, []
    for name, tensor in own.items():
        if name not in given:
            fresh.append(f"{name} (not there)")
        elif given[name].shape != tensor.shape:
            fresh.append(f"{name} ({_shape(given[name])} there, {_shape(tensor)} here)")
        else:
            taken[name] = given[name]
    return Fit(taken, fresh, [name for name in given if name not in own])


def renamed(tensors: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors by the names that a network has for them.

    Raises
    ------
    ValueError
        Two would have one name.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        begin = max((b for b in rename if name.startswith(b)), key=len, default=None)
        new = name if begin is None else rename[begin] + name[len(begin) :]
        if new in found:
            raise ValueError(f"init.rename makes two weights {new!r}, the second of {name!r}")
        found[new] = tensor
    return found


def read_state(data: bytes, where: str) -> Mapping[str, Tensor]:
    """The state dict in a file's content: of safetensors, or of torch (read with ``weights_only``).

    Raises
    ------
    ValueError
        It is neither, or holds anything but tensors by name.
    """
    if not data.startswith((b"PK\x03\x04", b"\x80")):  # what torch writes: a zip file, before 1.6 a pickle
        try:
            return load_tensors(data, where)
        except DamagedError:
            raise ValueError(f"weights file {where}: it is neither of safetensors nor of torch") from None
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"weights file {where}: not a state dict that can be read without running code ({reason}). Save "
            "network.state_dict() with safetensors.torch.save_file"
        ) from None
    for key in WRAPPERS:
        if isinstance(found, Mapping) and key in found and isinstance(found[key], Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        keys = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(
            f"weights file {where}: no tensors by name, but {keys[:200]}. Save network.state_dict() alone"
        )
    return {str(name): tensor for name, tensor in found.items()}


def _listed(names: Sequence[str]) -> str:
    """All names; of very many the first, and how many more there are."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
