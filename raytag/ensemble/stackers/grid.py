"""The grid of second-level networks: argus-freesound's ranges, drawn so that shapes repeat.

Config i has the shape (units, reduction of the gate, batch size) of config i mod 16, so a grid of 64 consists of 16
stacks of four networks, which differ in dropout, learning rate and its schedule. The 16 shapes are all different:
every base size four times, the reductions 3 or 4 times each, the batch sizes 5 or 6 times each.

Ranges are those of argus's random searches rs_004 and rs_005 together, but for the learning rate
(`raytag.ensemble.stackers.case` says why).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raytag.seeding import generator

BASE_SIZES = (64, 128, 256, 512)
REDUCTIONS = (1, 2, 4, 8, 16)
BATCH_SIZES = (32, 64, 128)
N_SHAPES = 16


@dataclass(frozen=True)
class StackerConfig:
    """One point of the grid."""

    name: str
    base_size: int  # units of the last hidden layer
    reduction_scale: int  # of the gate
    dropout: float
    lr: float
    patience: int  # plateau: epochs without improvement that are tolerated
    factor: float  # plateau: multiplies the rate
    batch_size: int  # clips


def draw_configs(n: int, seed: int) -> list[StackerConfig]:
    """The first ``n`` points of a seeded random grid; a larger grid starts with a smaller one."""
    shapes = draw_shapes(seed)
    configs = []
    for i in range(n):
        rng = generator(seed, i)
        base_size, reduction_scale, batch_size = shapes[i % N_SHAPES]
        configs.append(
            StackerConfig(
                name=f"stacker-{i:03d}",
                base_size=base_size,
                reduction_scale=reduction_scale,
                dropout=float(rng.uniform(0.0, 0.7)),
                lr=float(np.exp(rng.uniform(np.log(3e-4), np.log(3e-3)))),
                patience=int(rng.integers(3, 12)),
                factor=float(rng.uniform(0.5, 0.8)),
                batch_size=batch_size,
            )
        )
    return configs


def draw_shapes(seed: int) -> list[tuple[int, int, int]]:
    """16 different (base size, reduction, batch size); each four in a row have all base sizes."""
    rng = generator(seed, 0, 1)  # (seed, i) are the configs
    bases, reductions, batches = (
        rng.permutation(values).tolist() for values in (BASE_SIZES, REDUCTIONS, BATCH_SIZES)
    )
    # diagonals of a Latin square: one base size meets four different reductions
    return [(bases[b], reductions[(row + b) % 5], batches[(2 * row + b) % 3]) for row in range(4) for b in range(4)]
