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
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from _timing import Row, add_json_argument, print_table, write_json

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
        serve(set(args.serve.split()), args.base_size, args.batch, args.threads, args.steps)
        return

    workers = {name: Worker(measures, args) for name, measures in ROWS.items()}
    for i in range(args.rounds + 1):  # the first is the warm-up
        names = list(ROWS)
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            workers[name].round(keep=i > 0)
    for worker in workers.values():
        worker.stop()

    baseline = workers["PyTorch, float32"]
    rows = [worker.row(name, args.batch, baseline) for name, worker in workers.items()]
    title = (
        f"training step, base_size {args.base_size}, batch {args.batch}, "
        f"{args.threads} thread{'s' * (args.threads > 1)}"
    )
    print_table(title, rows)
    for name, worker in workers.items():
        print(
            f"{name}: loss of the first step {worker.first_loss:.6f}, "
            f"{statistics.median(worker.faults):,.0f} page faults a step"
        )
    write_json(args.json, {title: rows})


class Worker:
    """A process that trains a round of steps whenever it is told to."""

    def __init__(self, measures: str, args: argparse.Namespace) -> None:
        options = {"base-size": args.base_size, "batch": args.batch, "threads": args.threads, "steps": args.steps}
        command = [sys.executable, __file__, "--serve", measures]
        command += [part for key, value in options.items() for part in (f"--{key}", str(value))]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.faults: list[float] = []
        self.first_loss = float("nan")

    def round(self, *, keep: bool) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("round\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            raise SystemExit("a worker process ended; its message is above")
        wall, cpu, faults, loss = json.loads(reply)
        if keep:
            self.wall.append(wall)
            self.cpu.append(cpu)
            self.faults.append(faults)
        else:
            self.first_loss = loss

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def row(self, name: str, batch: int, baseline: Worker) -> Row:
        def ratio(theirs: list[float], ours: list[float]) -> float:
            return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))

        return Row(
            name=name,
            unit="samples",
            per=batch,
            rounds=len(self.wall),
            wall=statistics.median(self.wall),
            wall_range=(min(self.wall), max(self.wall)),
            cpu=statistics.median(self.cpu),
            cpu_range=(min(self.cpu), max(self.cpu)),
            wall_ratio=ratio(baseline.wall, self.wall),
            cpu_ratio=ratio(baseline.cpu, self.cpu),
        )


def serve(measures: set[str], base_size: int, batch: int, threads: int, steps: int) -> None:
    """Train ``steps`` steps for every line read and answer [wall s, CPU s, page faults, loss], a step each."""
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

    warm = False
    for _ in sys.stdin:
        first = step()
        if not warm:
            for _ in range(3):  # until the heap has its final size
                step()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(steps):
            step()
        numbers = [time.perf_counter() - wall, time.process_time() - cpu]
        numbers.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
        print(json.dumps([number / steps for number in numbers] + [first]), flush=True)
        warm = True


if __name__ == "__main__":
    main()
