"""Many files at once, in a bounded window, with a bar on a terminal. Pillow decodes outside of Python's lock."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

T = TypeVar("T")
R = TypeVar("R")

_MOST_THREADS = 8


def in_windows(work: Callable[[T], R], items: Sequence[T], window: int, doing: str) -> Iterator[list[R]]:
    """Results in the order of `items`, `window` at a time: never more of them are held.

    >>> list(in_windows(lambda x: x * x, range(5), 2, "squaring"))
    [[0, 1], [4, 9], [16]]
    """
    console = Console(file=sys.stderr)
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with (
        ThreadPoolExecutor(threads) as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(doing, total=len(items))
        for start in range(0, len(items), window):
            done = list(pool.map(work, items[start : start + window]))
            bar.advance(task, len(done))
            yield done
