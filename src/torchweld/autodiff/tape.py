"""Reverse mode: operators recorded as they ran, walked backwards once, adjoints added where a value fans out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.autodiff.rows import Row, shape_of, unbroadcast
from torchweld.autodiff.traced import Traced, below, new_level


@dataclass(frozen=True, eq=False)
class Node:
    """One recorded operation: its primitive, the arguments one level down, its value, and which arguments are nodes.

    An input of the recording has no `row`.
    """

    row: Row | None
    args: tuple[Any, ...]
    value: Tensor
    parents: tuple[tuple[int, int], ...] = ()  # (argument position, index of the node it came from)


class Tape:
    """A recording. `nodes` grows while the function runs and is only read afterwards."""

    def __init__(self) -> None:
        self.level = new_level()
        self.nodes: list[Node] = []

    def input(self, value: Tensor) -> Var:
        """A new independent variable."""
        return self._add(Node(None, (), value))

    def _add(self, node: Node) -> Var:
        self.nodes.append(node)
        return Var(node.value, self, len(self.nodes) - 1)

    def pull(self, seeds: Mapping[int, Tensor], wanted: set[int] | None = None) -> dict[int, Tensor]:
        """Adjoints by node index, from the adjoints `seeds` of some; only those `wanted` are kept, None for all."""
        adjoints = dict(seeds)
        for index in range(max(seeds, default=-1), -1, -1):
            g = adjoints.get(index)
            if g is None:
                continue
            node = self.nodes[index]
            for position, parent in node.parents:
                part = pull_one(node, position, g)
                adjoints[parent] = adjoints[parent] + part if parent in adjoints else part
            if wanted is not None and index not in wanted:
                del adjoints[index]
        return adjoints


def pull_one(node: Node, position: int, g: Tensor) -> Tensor:
    """The adjoint that `node` hands to its argument at `position`, with broadcasting and casting undone."""
    assert node.row is not None
    argument = node.args[position]
    part = node.row.rule(node.row.reverse, position)(g, node.value, *node.args)  # type: ignore[misc]
    part = unbroadcast(part, shape_of(argument))
    return part if part.dtype == argument.dtype else part.to(argument.dtype)


class Var(Traced):
    """A value on a tape."""

    tape: Tape
    index: int  # type: ignore[assignment]

    def __new__(cls, primal: Tensor, tape: Tape, index: int) -> Var:
        self = Traced.wrap(cls, primal)
        self.tape, self.index, self.level = tape, index, tape.level
        return self

    def follow(self, row: Row, args: tuple[Any, ...], at: list[int]) -> Any:
        primals = below(args, at)
        out = row.value(*primals)
        if not torch.is_grad_enabled():
            return out
        return self.tape._add(Node(row, primals, out, tuple((i, args[i].index) for i in at)))
