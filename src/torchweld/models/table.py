"""Every network that this package builds, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torch import nn

from torchweld.core import InputError
from torchweld.models.branched import SIZES as BRANCHED
from torchweld.models.branched import branched

_BUILDERS: dict[str, Callable[[str, int, int], nn.Module]] = {
    **dict.fromkeys(BRANCHED, branched),
}


def names() -> tuple[str, ...]:
    """The names that `create` knows.

    >>> "branched_tiny" in names()
    True
    """
    return tuple(_BUILDERS)


def create(
    name: str,
    classes: int = 10,
    channels: int = 3,
) -> nn.Module:
    """A network with fresh weights, in training mode, for images of `channels` channels.

    Raises `InputError` for a name that is not in `names()`, with the nearest that is.

    >>> sum(p.numel() for p in create("branched_nano", channels=1).parameters())
    26858
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_BUILDERS)}"
        raise InputError(f"there is no model {name!r}; {hint}")
    return _BUILDERS[name](name, classes, channels)
