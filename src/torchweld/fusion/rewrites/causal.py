"""A causal mask becomes the operator's own: `attention(Q, K, V, tril) = attention(Q, K, V, is_causal)`.

Conditions: the mask is boolean and known, true exactly where the key is not after the query; as many keys as queries.
The products that the mask would hide are then not computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from torchweld.core import Refusal
from torchweld.fusion.lift import arguments
from torchweld.fusion.rewrites.mask import known_mask
from torchweld.fusion.sizes import dtype_of
from torchweld.maps import Recipe, State

aten = torch.ops.aten
NAME = "causal"


@dataclass(frozen=True)
class Match:
    """An attention with a boolean mask."""

    attention: Node
    mask: Node


def match(node: Node) -> Match | None:
    """An attention that this node is, if it has a boolean mask."""
    if node.target is not aten.scaled_dot_product_attention.default:
        return None
    mask: Any = arguments(node)["attn_mask"]
    return Match(node, mask) if isinstance(mask, Node) and dtype_of(mask) is torch.bool else None


def check(found: Match, constants: Mapping[Node, Recipe], state: State) -> Refusal | None:
    """Why the mask must stay, or None."""
    known = known_mask(found.mask, constants, state, filled=False)
    if known is None:
        return Refusal("the mask depends on the inputs")
    return None if known.causal else Refusal("the mask is not causal")


def apply(graph: Graph, found: Match) -> Node:
    """Takes the mask away and says that the attention is causal."""
    a: Any = arguments(found.attention)
    found.attention.args = (a["query"], a["key"], a["value"])
    found.attention.kwargs = {"is_causal": True, "scale": a["scale"]}
    return found.attention
