"""Forward mode: dual numbers `x + x' eps` with `eps != 0, eps^2 = 0`, one infinitesimal per level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchweld.autodiff.rows import Row, shape_of
from torchweld.autodiff.traced import Traced, below


class Dual(Traced):
    """A value and its tangent; arithmetic with it carries the derivative along and keeps nothing else."""

    tangent: Tensor

    def __new__(cls, primal: Tensor, tangent: Tensor, level: int) -> Dual:
        self = Traced.wrap(cls, primal)
        self.tangent, self.level = tangent, level
        return self

    def follow(self, row: Row, args: tuple[Any, ...], at: list[int]) -> Any:
        primals = below(args, at)
        out = row.value(*primals)
        if not torch.is_grad_enabled():
            return out
        return Dual(out, push(row, {i: args[i].tangent for i in at}, out, primals), self.level)


def push(row: Row, tangents: dict[int, Tensor], out: Tensor, primals: tuple[Any, ...]) -> Tensor:
    """The tangent of `row`'s value from the tangents of its arguments, by position."""
    if row.joint is not None:
        total = row.joint(tangents, out, *primals)
    else:
        parts = [row.rule(row.forward, i)(t, out, *primals) for i, t in tangents.items()]  # type: ignore[misc]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
    if shape_of(total) != shape_of(out):
        total = total.expand(shape_of(out))
    return total if total.dtype == out.dtype else total.to(out.dtype)
