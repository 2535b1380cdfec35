"""Joining a Ray cluster, or starting Ray on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Join the cluster at ``address``, or start Ray on this machine; a Ray that is already there is used.

    Raises
    ------
    ValueError
        No cluster answers at ``address``.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # "local": without it Ray would join whatever cluster it last heard of on this machine, even a dead one
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=None if address else False,
        )
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there ({error})") from None
    try:
        yield
    finally:
        ray.shutdown()
