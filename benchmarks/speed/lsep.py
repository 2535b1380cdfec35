"""LSEP of a batch, forward and backward: the published sum over all pairs of classes against raytag's two ways.

    python benchmarks/speed/lsep.py                        # 64 clips of 80 and of 527 classes, one thread

The pairs are computed as published, in O(C²). For labels of 0 and 1 raytag takes the product of two sums, O(C); on
a GPU, and for soft labels, sums over classes sorted by label, O(C log C). Below each table: how far the values are
from float64, how far those of logits that were rounded to bfloat16 are from those of float32 logits, and at which
size of logits the sum over pairs ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from _timing import add_json_argument, compare, print_table, write_json
from torch import Tensor

from raytag import losses
from raytag.batch import Outputs, Targets
from raytag.losses.lsep import of_any, of_hard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, nargs="+", default=[80, 527])
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default 7)")
    add_json_argument(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tables = {}
    for classes in args.classes:
        rng = torch.Generator().manual_seed(0)
        logits = 3 * torch.randn(args.batch, classes, generator=rng)
        labels = (torch.rand(args.batch, classes, generator=rng) < 1.2 / classes).float()
        labels[:, 0] = 1
        ways = {"all pairs": all_pairs, "sorted, any labels": of_any, "product, labels of 0 and 1": of_hard}
        title = f"LSEP forward and backward, {args.batch} clips x {classes} classes, one thread"
        tables[title] = compare(
            {name: partial(step, way, logits, labels) for name, way in ways.items()},
            rounds=args.rounds,
            unit="steps",
        )
        print_table(title, tables[title])
        exact = all_pairs(logits.double(), labels.double())
        off = {name: worst(way(logits, labels), exact) for name, way in ways.items()}
        loss, noisy = losses.build("LSEP"), torch.zeros(args.batch, dtype=torch.bool)
        rounded = torch.stack([one(loss, row.bfloat16(), labels[i], noisy[i]) for i, row in enumerate(logits)])
        print(
            "largest relative deviation of a clip: from float64 "
            + ", ".join(f"{value:.1e} ({name})" for name, value in off.items())
            + f"; of bfloat16 logits {worst(rounded, exact):.1e}"
        )
        sizes = [size for size in (10, 30, 60, 90, 100, 1000) if ends(size, labels)]
        print(f"all pairs are not finite at logits of ±{sizes[0]}; raytag's is at ±1000\n")
    write_json(args.json, tables)


def all_pairs(z: Tensor, y: Tensor) -> Tensor:
    """Of each clip, (B,): the published loss, in the numbers of its arguments."""
    lower = (y[:, None, :] < y[:, :, None]).to(z.dtype)
    return (lower * (z[:, None, :] - z[:, :, None]).exp()).sum((1, 2)).log1p()


def step(way: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Tensor:
    z = logits.detach().requires_grad_()
    return torch.autograd.grad(way(z, labels).mean(), z)[0]


def one(loss: Callable[[Outputs, Targets], Tensor], logits: Tensor, labels: Tensor, noisy: Tensor) -> Tensor:
    return loss(Outputs(logits[None]), Targets(labels[None], noisy[None]))


def worst(found: Tensor, exact: Tensor) -> float:
    return float(((found.double() - exact).abs() / exact).max())


def ends(size: float, labels: Tensor) -> bool:
    """Whether the pairs' value or gradient is not finite where all positives are at -size, the others at size."""
    logits = size * (1 - 2 * labels)
    for way in (of_hard, of_any):
        assert step(way, logits, labels).isfinite().all(), f"{way.__name__} at ±{size}"
    return not step(all_pairs, logits, labels).isfinite().all()


if __name__ == "__main__":
    main()
