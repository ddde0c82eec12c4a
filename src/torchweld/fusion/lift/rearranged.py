"""Places of one axis in another order, or several times: `flip`, `roll`, `repeat`, `expand`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import Node

from torchweld.fusion.lift.local import Gather, LocalLaw, View, arguments
from torchweld.fusion.lift.operands import ndim, operand_of
from torchweld.fusion.sizes import shape_of

_MOST_COPIES = 64  # of a channel; its rows of the kernel are as many


def flipped(node: Node) -> list[LocalLaw]:
    """Channels in reverse, or another axis."""
    a: Any = arguments(node)
    return _rearranged(a["self"], [d % ndim(a["self"]) for d in a["dims"]], lambda n: list(range(n))[::-1])


def rolled(node: Node) -> list[LocalLaw]:
    """Channels moved round in a ring, or another axis."""
    a: Any = arguments(node)
    if len(a["dims"]) != 1 or len(a["shifts"]) != 1 or not isinstance(a["shifts"][0], int):
        return []
    shift = a["shifts"][0]
    return _rearranged(a["self"], [a["dims"][0] % ndim(a["self"])], lambda n: [(i - shift) % n for i in range(n)])


def _rearranged(x: Node, moved: list[int], order: Callable[[int], list[int]]) -> list[LocalLaw]:
    """A choice of channels on the one axis that is rearranged, and a view for the others."""
    laws: list[LocalLaw] = [View(x, tuple(None if i in moved else i for i in range(ndim(x))))]
    channels = (shape_of(x) or ())[moved[0]] if len(moved) == 1 else None
    if isinstance(channels, int):
        laws.append(Gather(x, moved[0], tuple(order(channels))))
    return laws


def repeated(node: Node) -> list[LocalLaw]:
    """`repeat` and `expand` along one axis: each channel taken several times."""
    x = operand_of(node)
    before, after = shape_of(x), shape_of(node)
    if before is None or after is None or len(before) != len(after):
        return []
    longer = [i for i, (n, m) in enumerate(zip(before, after, strict=True)) if n != m]
    if len(longer) != 1:
        return []
    axis = longer[0]
    n, m = before[axis], after[axis]
    laws: list[LocalLaw] = [View(x, tuple(None if i == axis else i for i in range(len(before))))]
    if isinstance(n, int) and isinstance(m, int) and m <= _MOST_COPIES * n:
        laws.append(Gather(x, axis, tuple(range(n)) * (m // n)))
    return laws
