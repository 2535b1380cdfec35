"""The state of an optimizer as flat tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state under the names of the parameters: ``{"head.3.weight.exp_avg": …}``.

    Parameters
    ----------
    optimizer
        Of the parameters of ``model``.
    model
        Gives the names.

    Returns
    -------
    dict of str to Tensor
        Contiguous copies on the CPU, ready for safetensors; empty before the first step.
    """
    return {
        f"{name}.{key}": value.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if value is not None  # SGD's momentum where there is none
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer the state that `optimizer_tensors` exported, to the bit.

    Moments get the device and the memory format of their parameter. Learning rates are not part of the state;
    the schedule sets them.

    Raises
    ------
    ValueError
        A tensor belongs to no parameter of the model, or has another shape than it.
    """
    parameters = dict(model.named_parameters())
    states: dict[Tensor, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        owner, _, key = name.rpartition(".")
        if owner not in parameters:
            raise ValueError(f"optimizer state {name!r} belongs to no parameter of this model")
        parameter = parameters[owner]
        if key == "step":
            restored = value.detach().to(parameter.device, copy=True)
        elif value.shape != parameter.shape:
            raise ValueError(
                f"optimizer state {name!r} is {tuple(value.shape)}, its parameter {tuple(parameter.shape)}"
            )
        else:
            restored = torch.empty_like(parameter, dtype=value.dtype).copy_(value).detach()
        states.setdefault(parameter, {})[key] = restored
    optimizer.state.clear()
    optimizer.state.update(states)
