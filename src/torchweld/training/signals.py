"""Ctrl-C, or the system's request to end: the step is finished, the state saved; a second Ctrl-C ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def asked_to_stop() -> Iterator[list[bool]]:
    """A list whose one value turns true when the process is asked to stop; off the main thread nobody can ask."""
    asked = [False]
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked[0]:
            raise KeyboardInterrupt
        asked[0] = True

    wanted = (signal.SIGINT, signal.SIGTERM)
    before: list[Any] = [signal.signal(number, ask) for number in wanted]
    try:
        yield asked
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)
