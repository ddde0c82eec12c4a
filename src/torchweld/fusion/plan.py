"""What is to be made: a cut for each value that must exist, and the maps that are computed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch.fx import Node

from torchweld.fusion.analyse import Cut
from torchweld.fusion.expression import Term
from torchweld.maps import Recipe


@dataclass(frozen=True)
class Member:
    """One of the joined maps: term `term` of the value of `node`, its bias, and its rows in the joined map."""

    node: Node
    term: Term
    bias: Recipe | None
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.term.rows


@dataclass(frozen=True, eq=False)
class Join:
    """Maps computed as one."""

    members: tuple[Member, ...]

    @property
    def channels(self) -> int:
        return self.members[-1].stop


@dataclass(frozen=True, eq=False)
class Plan:
    """The chosen cut of each affine value that is made, the total by the cost model in seconds, and the joins.

    `apart`: the cuts as they were chosen before values that join were spelled out as expressions.
    """

    chosen: Mapping[Node, Cut]
    seconds: float
    joins: Mapping[tuple[Node, Term], Join] = field(default_factory=dict)
    apart: Mapping[Node, Cut] = field(default_factory=dict)
