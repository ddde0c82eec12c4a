"""While a verb works: a line on the terminal that says at what, and none of the logs of torch; errors stay one line."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

from rich.console import Console

debugging: ContextVar[bool] = ContextVar("debugging", default=False)


@contextlib.contextmanager
def waiting(doing: str) -> Iterator[None]:
    """Says what is being done, on stderr, if that is a terminal, and takes it back at the end.

    It is redrawn once a second only: what is timed meanwhile must not notice.
    """
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield
        return
    with console.status(f"{doing} ...", refresh_per_second=1):
        yield


@contextlib.contextmanager
def quiet(doing: str) -> Iterator[None]:
    """`waiting`, and swallows logs, warnings and prints to stderr meanwhile, unless `--debug` was given."""
    if debugging.get():
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with waiting(doing), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
