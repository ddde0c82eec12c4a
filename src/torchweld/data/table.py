"""Every data set that this package loads, by name."""

from __future__ import annotations

from collections.abc import Callable

from torchweld.core import InputError
from torchweld.data.dataset import Split
from torchweld.data.digits import digits

_LOADERS: dict[str, Callable[[int], Split]] = {
    "digits": digits,
}


def load(name: str, seed: int = 0) -> Split:
    """The data set of that name, its held-out part drawn by `seed`. Raises `InputError` for an unknown name.

    >>> load("digits").classes
    ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    if name not in _LOADERS:
        raise InputError(f"there is no data set {name!r}; known are {', '.join(_LOADERS)}")
    return _LOADERS[name](seed)
