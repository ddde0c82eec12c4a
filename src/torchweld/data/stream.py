"""Samples that come one by one and are never all there: in bounded memory, and never an empty epoch by accident.

A Python iterator can be walked once. A loop over one that is spent does nothing and says nothing, so that a second
epoch over a generator trains on no sample. Here that is an error.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from torchweld.core import InputError
from torchweld.data.sizes import deep_size, shallow_size

T = TypeVar("T")


class Stream(Generic[T]):
    """Items made anew each time it is walked, from a function that starts them.

    Raises `InputError` if it is given an iterator, which could be walked once only, if the function gives the same
    iterator twice, and if a walk that had items before has none.

    >>> stream = Stream(lambda: (x * x for x in range(3)))
    >>> list(stream), list(stream)
    ([0, 1, 4], [0, 1, 4])
    """

    def __init__(self, start: Callable[[], Iterable[T]]) -> None:
        if not callable(start):
            kind = type(start).__name__
            raise InputError(f"a {kind} instead of a function that starts the items; write Stream(lambda: ...)")
        self._start = start
        self._walk: Iterable[T] | None = None

    def __iter__(self) -> Iterator[T]:
        walk = self._start()
        if walk is self._walk and iter(walk) is walk:
            raise InputError("the stream's function returned a spent iterator; let it start a new one each time")
        self._walk = walk
        return iter(walk)

    def batches(self, size: int) -> Iterator[list[T]]:
        """Lists of `size` items, the last one perhaps shorter; one at a time is in memory.

        >>> list(Stream(lambda: range(5)).batches(2))
        [[0, 1], [2, 3], [4]]
        """
        if size < 1:
            raise InputError(f"batches of {size} items; take 1 or more")
        items = iter(self)
        while some := list(islice(items, size)):
            yield some


class Once(Generic[T]):
    """An iterator that may be walked once; to begin a second time raises `InputError`, where Python says nothing.

    >>> numbers = Once(iter([1, 2]))
    >>> list(numbers)
    [1, 2]
    >>> list(numbers)
    Traceback (most recent call last):
    torchweld.core.errors.InputError: this iterator is spent; make a new one for each epoch, with Stream
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._begun = False

    def __iter__(self) -> Iterator[T]:
        if self._begun:
            raise InputError("this iterator is spent; make a new one for each epoch, with Stream")
        self._begun = True
        return iter(self._items)


@dataclass(frozen=True)
class Walk:
    """Memory of one walk over some items, in bytes."""

    items: int
    shallow_bytes: int  # of the object itself
    deep_bytes: int  # with all that it holds before the walk
    peak_bytes: int  # allocated at the worst moment, making and walking


def walked(start: Callable[[], Iterable[object]]) -> Walk:
    """Makes the items twice, walks over them once and measures by `tracemalloc` what a list costs, or a generator.

    >>> as_list = walked(lambda: [bytes(1000) for _ in range(1000)])
    >>> streamed = walked(lambda: (bytes(1000) for _ in range(1000)))
    >>> as_list.peak_bytes > 100 * streamed.peak_bytes
    True
    """
    held = start()
    shallow, deep = shallow_size(held), deep_size(held)
    del held  # measured apart, so that the measuring does not count
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    items = start()
    count = sum(1 for _ in items)
    peak = tracemalloc.get_traced_memory()[1] - before
    if not running:
        tracemalloc.stop()
    return Walk(count, shallow, deep, peak)
