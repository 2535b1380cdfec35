"""Batches that are made while the ones before them train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from raytag.batch import Batch


def made_ahead(make: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """What ``make`` gives for each step, in order; a thread is up to two steps ahead."""
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(make, s) for s in steps[:2]]
        for ahead in [*steps[2:], None, None]:
            if not pending:
                return
            batch = pending.pop(0).result()
            if ahead is not None:
                pending.append(pool.submit(make, ahead))
            yield batch
