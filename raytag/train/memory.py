"""Keep freed activations in the process instead of handing them back to the kernel.

glibc serves blocks above 32 MB (at most) by ``mmap`` and unmaps them when freed, and returns the top of the heap
whenever enough of it is free. A training step frees hundreds of megabytes and asks for the same again in the
next step, so the kernel maps and zeroes the same pages over and over: for a small network on a CPU this is
half of the step. With the thresholds out of reach, memory once touched stays and the steps after the first
few cause next to no page faults. The price: the process keeps its high-water mark until it ends.
"""

from __future__ import annotations

import ctypes
import functools
import platform

# Parameter numbers of mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGEST = 2**31 - 1  # bytes; mallopt takes an int


@functools.cache
def tune_malloc() -> bool:
    """Make this process keep freed memory for its own next allocation.

    Affects all threads, from now on, until the process ends; the second call does nothing. The environment
    variables ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` have the same effect from the start.

    Returns
    -------
    bool
        Whether the settings took; False where the C library is not glibc (macOS, Windows, musl), or where it
        refused them.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    kept = libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST)
    # Older glibc refuse a threshold above 32 MB; there, mmap is switched off altogether.
    unmapped = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST) or libc.mallopt(_M_MMAP_MAX, 0)
    return bool(kept and unmapped)
