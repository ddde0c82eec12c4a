"""How many bytes a Python object takes: itself, and with all that it holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor


def shallow_size(thing: object) -> int:
    """The object alone: a list's is that of its references, whatever they refer to.

    >>> shallow_size([bytes(1000)]) == shallow_size([b""])
    True
    """
    return sys.getsizeof(thing)


def deep_size(thing: object) -> int:
    """The object and all that it holds, each counted once, however often it is referred to.

    Containers, attributes, numpy arrays and tensors are followed; a view counts what it looks at, a memory map only
    itself, since its numbers lie on disk. Iterators are not walked: what they have still to make is nowhere.

    >>> item = bytes(1000)
    >>> deep_size([item, item]) - deep_size([item])  # one more reference
    8
    """
    return _size(thing, set())


def _size(thing: Any, seen: set[int]) -> int:
    pending, total = [thing], 0
    while pending:
        part = pending.pop()
        if id(part) in seen or isinstance(part, (type, type(sys))):
            continue
        seen.add(id(part))
        total += sys.getsizeof(part)
        if isinstance(part, np.ndarray):
            if part.base is not None and not isinstance(part, np.memmap):
                pending.append(part.base)
        elif isinstance(part, Tensor):
            storage = part.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                total += storage.nbytes()
        elif isinstance(part, Mapping):
            pending += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple, set, frozenset)):
            pending += part
        if not isinstance(part, Tensor):
            pending += [vars(part)] if hasattr(part, "__dict__") and not callable(part) else []
            slots = [name for kind in type(part).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
            pending += [getattr(part, name) for name in slots if hasattr(part, name)]
    return total


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
