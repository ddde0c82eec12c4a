"""Torch logs and prints a good deal while it captures a model or reads a file; an error stays one line all the same."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

debugging: ContextVar[bool] = ContextVar("debugging", default=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallows logs, warnings and prints to stderr, unless `--debug` was given."""
    if debugging.get():
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
