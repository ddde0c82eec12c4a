"""Memory that stays with the process between steps.

A step frees its activations, and the next asks for as much again. By default the C library hands large blocks back to
the kernel in between, which then clears every page anew: on a CPU up to a fifth of the time of a small network's step.
See `man mallopt`; measured by `benchmarks/memory.py`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST = 2**31 - 1
_ADJUSTED = 32 << 20  # where glibc's own adjustment of the second ends; the first is then twice as much


@contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, what is freed stays with the process; afterwards it is handed back. Does nothing without glibc."""
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_TRIM_THRESHOLD, _MOST)
    libc.mallopt(_MMAP_THRESHOLD, _MOST)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, 2 * _ADJUSTED)
        libc.mallopt(_MMAP_THRESHOLD, _ADJUSTED)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
