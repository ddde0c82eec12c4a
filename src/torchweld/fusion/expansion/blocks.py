"""The four blocks by name: which branches stand beside the convolution that they widen.

`rep`: kxk + 1x1 + identity (RepVGG, Ding et al. 2021, https://arxiv.org/abs/2101.03697).
`asymmetric`: kxk + 1xk + kx1 (ACNet, Ding et al. 2019, https://arxiv.org/abs/1908.03930).
`diverse`: kxk + 1x1 + 1x1-kxk + 1x1-average (diverse branch block, Ding et al. 2021, https://arxiv.org/abs/2103.13425).
`wide(n)`: n of kxk + 1x1 + identity (MobileOne, Vasu et al. 2022, https://arxiv.org/abs/2206.04040).

A branch that can say nothing new is left out, with its reason: the identity where channels or positions change, and a
1x1 with one input per output beside the identity, since both are the same factor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torchweld.core import InputError, Refusal
from torchweld.fusion.expansion.maker import Maker, Stages
from torchweld.fusion.expansion.window import centre, keeps_position, one_input
from torchweld.maps import Geometry


@dataclass(frozen=True)
class BlockName:
    """A block's name, taken apart: `wide(4)` has kind "wide" and four kxk branches."""

    kind: str
    copies: int = 1

    def __str__(self) -> str:
        return f"wide({self.copies})" if self.kind == "wide" else self.kind


def block_named(name: str) -> BlockName:
    """The block of that name. Raises `InputError` for any other.

    >>> block_named("wide(4)")
    BlockName(kind='wide', copies=4)
    """
    if name in ("rep", "asymmetric", "diverse"):
        return BlockName(name)
    if (found := re.fullmatch(r"wide\(\s*([1-9]\d*)\s*\)", name)) is not None:
        return BlockName("wide", int(found[1]))
    raise InputError(
        f"no block is called {name!r}; choose 'rep', 'asymmetric', 'diverse' or 'wide(n)', as in 'wide(4)'"
    )


@dataclass(frozen=True)
class Sides:
    """The branches beside the first kxk, by name, and those left out with the reason."""

    branches: dict[str, Stages]
    left_out: tuple[str, ...]


def check_block(block: BlockName, g: Geometry) -> None:
    """Raises `Refusal` where the block would say no more than the convolution alone."""
    long = [k for k in g.kernel if k > 1]
    if not long and block.kind != "wide":
        raise Refusal(f"a 1x1 convolution: every branch of {block} but the identity would be another 1x1")
    if block.kind == "asymmetric" and len(long) < 2:
        raise Refusal(
            "the kernel is longer than 1 along one axis only, so an asymmetric branch would be the kernel itself"
        )
    if not _names(block, g)[0]:
        raise Refusal(f"no branch of {block} can stand beside it: " + "; ".join(_names(block, g)[1]))


def sides_of(block: BlockName, make: Maker) -> Sides:
    """The side branches of a block on a window."""
    names, left_out = _names(block, make.window)
    return Sides({name: _made(name, make) for name in names}, left_out)


def _names(block: BlockName, g: Geometry) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if block.kind == "asymmetric":
        return tuple(f"along_{axis}" for axis, k in enumerate(g.kernel) if k > 1), ()
    if block.kind == "diverse":
        return ("point", "point_same", "point_average"), ()
    names = [f"same_{i}" for i in range(1, block.copies)]
    left_out = []
    point = any(k > 1 for k in g.kernel)
    if keeps_position(g):
        names.append("identity")
        if point and one_input(g):
            point = False
            left_out.append("1x1: with one input per output it is the same factor as the identity")
    else:
        left_out.append("identity: channels, stride or positions change")
    return (*names, *(("point",) if point else ())), tuple(left_out)


def _made(name: str, make: Maker) -> Stages:
    kind, _, number = name.partition("_")
    if kind == "along":
        axis = int(number)
        kernel = tuple(k if a == axis else 1 for a, k in enumerate(make.window.kernel))
        return make.small(kernel, tuple(0 if a == axis else c for a, c in enumerate(centre(make.window))))
    if kind == "same":
        return make.same()
    return _SIDES[name](make)


_SIDES: dict[str, Callable[[Maker], Stages]] = {
    "identity": lambda make: {},
    "point": Maker.point,
    "point_same": Maker.point_then_same,
    "point_average": Maker.point_then_average,
}
