"""One training step of AuxSkipAttention on a CPU: plain PyTorch against what raytag's trials do.

    python benchmarks/speed/train_step.py                              # base_size 16, batch 32, one thread
    python benchmarks/speed/train_step.py --base-size 64 --batch 8 --threads 2

Plain is float32, contiguous tensors, torch's default Adam and the allocator as glibc sets it up. Against it, each
of raytag's measures alone, then together: freed memory kept (raytag.train.memory), channels-last layout, bfloat16
autocast; raytag's own rows have the fused batch norm (raytag.models.blocks.fused) and Adam as well. A step is what
the training loop does: layout of the batch, forward, loss with auxiliary heads, backward, optimizer.

Allocator settings stick to a process, so every row runs in a process of its own, which waits while the others
take their turn. Below the table: that they compute the same, and the page faults of a step.
"""

from __future__ import annotations

import argparse
import statistics

from _timing import add_json_argument, print_table, write_json
from _workers import Worker, serve, timed

ROWS = {
    "PyTorch, float32": "",
    "+ malloc": "malloc",
    "+ channels last": "channels_last",
    "+ bfloat16": "bf16",
    "+ channels last, bfloat16": "channels_last bf16",
    "+ all three": "malloc channels_last bf16",
    "raytag, float32": "malloc channels_last fused",
    "raytag": "malloc channels_last bf16 fused",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-size", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default 7)")
    parser.add_argument("--steps", type=int, default=2, help="steps a round (default 2)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    add_json_argument(parser)
    args = parser.parse_args()
    if args.serve is not None:
        train(set(args.serve.split()), args.base_size, args.batch, args.threads, args.steps)
        return

    options = {"base-size": args.base_size, "batch": args.batch, "threads": args.threads, "steps": args.steps}
    told = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    workers = {name: Worker([__file__, "--serve", measures, *told]) for name, measures in ROWS.items()}
    timed(workers, args.rounds)
    baseline = workers["PyTorch, float32"]
    rows = [worker.row(name, "samples", baseline) for name, worker in workers.items()]
    title = (
        f"training step, base_size {args.base_size}, batch {args.batch}, "
        f"{args.threads} thread{'s' * (args.threads > 1)}"
    )
    print_table(title, rows)
    for name, worker in workers.items():
        print(
            f"{name}: loss of the first step {worker.first:.6f}, "
            f"{statistics.median(worker.faults) / args.steps:,.0f} page faults a step"
        )
    write_json(args.json, {title: rows})


def train(measures: set[str], base_size: int, batch: int, threads: int, steps: int) -> None:
    """Serve rounds of ``steps`` steps; of the first the loss is told."""
    import torch

    from raytag import losses, models
    from raytag.batch import Targets
    from raytag.experiment import Optimizer
    from raytag.models.blocks import fused
    from raytag.train.memory import tune_malloc

    if "malloc" in measures and not tune_malloc():
        raise SystemExit("tune_malloc has no effect on this system")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layout = torch.channels_last if "channels_last" in measures else torch.contiguous_format
    model = models.build("AuxSkipAttention", num_classes=80, base_size=base_size).to(memory_format=layout)
    settings = Optimizer()
    if "fused" in measures:
        optimizer: torch.optim.Optimizer = settings.build(model.parameters())
    else:
        fused.MAX_THREADS = 0
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    loss_of = losses.build()
    images = torch.randn(batch, 3, 128, 256)
    targets = (torch.rand(batch, 80) < 0.02).float()
    noisy = torch.rand(batch) < 0.3

    def step() -> float:
        x = images.to(memory_format=layout)
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in measures):
            outputs = model(x)
        loss = loss_of(outputs, Targets(targets, noisy))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def work() -> tuple[float, float]:
        found = [step() for _ in range(steps)]
        return batch * steps, found[0]

    serve(work, warm_up=3)  # until the heap has its final size


if __name__ == "__main__":
    main()
