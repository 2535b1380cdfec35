"""In which numbers a network is trained."""

from __future__ import annotations

import torch


def resolve_precision(precision: str, device: torch.device) -> str:
    """What ``auto`` means on a device: bf16 where the processor multiplies it natively, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
