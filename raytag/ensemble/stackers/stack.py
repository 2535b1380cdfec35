"""Several networks of one shape as one: FCNet forward and backward in stacked tensors, without autograd.

The networks of a grid of stackers are small and many. Those of equal shape are laid on top of each other: row g of
the matrix ``weights`` (G, P) holds all parameters of network g one after the other, and each layer is a view
(G, out, in) of it, so that one batched product serves all of them. The gradient of binary cross-entropy through
three linear layers and a gate is written out by hand and goes straight into a second matrix of the same layout. An
optimizer therefore sees a single tensor a network, and networks leave a stack by leaving out a row.

What that is worth depends on the size: of small networks the overhead of each operation is most of the time, of
large ones the products are, and those do not get faster by being stacked (`raytag.ensemble.stackers.training`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from raytag.ensemble.stackers.fcnet import FCNet

_ALIGNMENT = 16  # float32 values: a cache line, so that a product rounds alike wherever its matrix lies


@dataclass(frozen=True)
class Shape:
    """What two networks must share to be trained in one stack, apart from the batch size."""

    in_channels: int
    num_classes: int
    base_size: int
    reduction_scale: int

    def build(self, dropout: float = 0.0) -> FCNet:
        """The network itself, with fresh weights from torch's global generator."""
        return FCNet(self.in_channels, self.num_classes, self.base_size, self.reduction_scale, dropout)

    @property
    def hidden(self) -> tuple[int, int]:
        """Units of the hidden layers, after each of which stands a dropout."""
        return 2 * self.base_size, self.base_size


@cache
def parameters(shape: Shape) -> tuple[tuple[tuple[str, torch.Size, int], ...], int]:
    """Name, shape and offset of each of FCNet's parameters within a row, and the length of a row."""
    with torch.device("meta"):
        state = shape.build().state_dict()
    entries, offset = [], 0
    for name, value in state.items():
        entries.append((name, value.shape, offset))
        offset += math.ceil(value.numel() / _ALIGNMENT) * _ALIGNMENT
    return tuple(entries), offset


def pack(shape: Shape, state: Mapping[str, Tensor]) -> Tensor:
    """A row [shape=(P,)] from FCNet's state dict; padding is 0."""
    entries, length = parameters(shape)
    row = torch.zeros(length)
    for name, size, offset in entries:
        row[offset : offset + size.numel()] = state[name].reshape(-1)
    return row


def unpack(shape: Shape, row: Tensor) -> dict[str, Tensor]:
    """FCNet's state dict from a row [shape=(P,)]; the tensors are copies."""
    return {name: row[o : o + size.numel()].reshape(size).clone() for name, size, o in parameters(shape)[0]}


class Stack:
    """G networks of one shape.

    Parameters
    ----------
    shape
        Of all of them.
    rows
        G rows of parameters [shape=(P,)], which are copied.

    Attributes
    ----------
    weights, gradients : torch.Tensor [shape=(G, P)], float32
        Optimizers work on rows of the first with rows of the second.
    """

    def __init__(self, shape: Shape, rows: Sequence[Tensor]) -> None:
        self.weights = torch.stack(list(rows))
        self.gradients = torch.zeros_like(self.weights)
        entries, _ = parameters(shape)

        def views(matrix: Tensor) -> list[Tensor]:
            # a bias (out,) as (G, 1, out), to be added to (G, B, out); the slope of a PReLU as (G, 1, 1)
            return [
                matrix[:, o : o + size.numel()].view(len(matrix), *(size if len(size) == 2 else (1, *size)))
                for _, size, o in entries
            ]

        self._layers = views(self.weights)
        self._slots = views(self.gradients)

    def logits(self, x: Tensor) -> Tensor:
        """(B, in_channels) → (G, B, num_classes), without dropout."""
        w1, b1, w2, b2, v1, c1, a1, v2, c2, a2, v3, c3 = self._layers
        shared = x.expand(len(self.weights), *x.shape)
        hidden = torch.baddbmm(b1, shared, w1.mT).relu_()
        z = torch.baddbmm(b2, hidden, w2.mT).sigmoid_().mul_(x)
        z = _prelu(torch.baddbmm(c1, z, v1.mT), a1)[0]
        z = _prelu(torch.baddbmm(c2, z, v2.mT), a2)[0]
        return torch.baddbmm(c3, z, v3.mT)

    def differentiate(self, x: Tensor, y: Tensor, keep: tuple[Tensor, Tensor]) -> None:
        """Write the gradients of the mean binary cross-entropy of each network into ``gradients``.

        Parameters
        ----------
        x : torch.Tensor [shape=(B, in_channels)]
        y : torch.Tensor [shape=(B, num_classes)]
            In [0, 1].
        keep : pair of torch.Tensor [shape=(G, B, 2 base_size) and (G, B, base_size)]
            Dropout: 0, or 1 / (1 - p).
        """
        w1, b1, w2, b2, v1, c1, a1, v2, c2, a2, v3, c3 = self._layers
        g_w1, g_b1, g_w2, g_b2, g_v1, g_c1, g_a1, g_v2, g_c2, g_a2, g_v3, g_c3 = self._slots
        shared = x.expand(len(self.weights), *x.shape)  # (G, B, in)
        hidden = torch.baddbmm(b1, shared, w1.mT).relu_()  # (G, B, in // reduction)
        gate = torch.baddbmm(b2, hidden, w2.mT).sigmoid_()  # (G, B, in)
        z0 = gate * x
        u1 = torch.baddbmm(c1, z0, v1.mT)  # (G, B, 2 base)
        z1, negative1 = _prelu(u1, a1)
        z1.mul_(keep[0])
        u2 = torch.baddbmm(c2, z1, v2.mT)  # (G, B, base)
        z2, negative2 = _prelu(u2, a2)
        z2.mul_(keep[1])
        # the derivative of the loss by the logits, (G, B, classes)
        d = torch.baddbmm(c3, z2, v3.mT).sigmoid_().sub_(y).div_(y.numel())
        _linear(d, z2, g_v3, g_c3)
        d = _back(torch.bmm(d, v3), keep[1], u2, negative2, a2, g_a2)
        _linear(d, z1, g_v2, g_c2)
        d = _back(torch.bmm(d, v2), keep[0], u1, negative1, a1, g_a1)
        _linear(d, z0, g_v1, g_c1)
        # z0 = x s(v) with s' = s (1 - s): its derivative by v is z0 - z0 s
        d = torch.bmm(d, v1).mul_(torch.addcmul(z0, z0, gate, value=-1))
        _linear(d, hidden, g_w2, g_b2)
        d = torch.bmm(d, w2).mul_(hidden > 0)
        _linear(d, shared, g_w1, g_b1)


def _prelu(u: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """PReLU, and its input's negative part."""
    negative = u.clamp(max=0)
    return torch.addcmul(u, negative, slope - 1), negative


def _back(d: Tensor, keep: Tensor, u: Tensor, negative: Tensor, slope: Tensor, g_slope: Tensor) -> Tensor:
    """Derivative by the input of dropout after PReLU; that by the slope goes into ``g_slope``."""
    d.mul_(keep)
    torch.sum(d * negative, dim=(1, 2), keepdim=True, out=g_slope)
    return d.mul_(torch.where(u > 0, 1.0, slope))


def _linear(d: Tensor, z: Tensor, g_weight: Tensor, g_bias: Tensor) -> None:
    """Gradients of a linear layer with input ``z`` and derivative ``d`` by its output."""
    torch.bmm(d.mT, z, out=g_weight)
    torch.sum(d, dim=1, keepdim=True, out=g_bias)
