"""Written-out attention as one operator: `softmax(s Q K^T + M) V = scaled_dot_product_attention(Q, K, V, M, scale=s)`.

Conditions: the softmax runs over the keys; the scores, and the weights after them, are read by nothing else; at most
one mask is added, after the scale; a mask that fills with -inf is known and leaves no row without a key (the operator
gives zeros for such a row, the softmax NaN); Q, K, V have two to four axes and heads of one width. The products may be
`matmul`, `bmm`, `baddbmm` or `einsum`. Dropout in eval mode and casts to the same dtype lie between without harm.
Source: the operator is FlashAttention's (Dao et al. 2022) where the machine has it. It is taken only for operands with
the head innermost in memory and masks of two or four axes, else PyTorch computes the products apart and more slowly
than by hand; so operands are copied, and masks are given their axes, where they are not so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from torchweld.core import Refusal
from torchweld.fusion.lift import arguments
from torchweld.fusion.rewrites.mask import known_mask
from torchweld.fusion.sizes import Shape, dtype_of, shape_of
from torchweld.maps import Recipe, State

aten = torch.ops.aten
NAME = "attention"
_PRODUCTS = {aten.matmul.default, aten.bmm.default}
_PASS = {aten.dropout.default, aten.to.dtype, aten.clone.default, aten.contiguous.default, aten.alias.default}
_LEAST_SCORES = 64 * 64  # below, one small product after another is as fast


Operand = tuple[Node, tuple[int, ...]]  # a value and the order in which its axes are read


@dataclass(frozen=True)
class Match:
    """One attention: operands as (node, order of its axes) with the batch axes first, and what lies between."""

    softmax: Node
    result: Node
    q: Operand
    k: Operand
    v: Operand
    order: tuple[int, ...]  # of the result's axes
    scale: float
    mask: Node | None
    filled: bool


def match(node: Node) -> Match | None:
    """An attention around this softmax; None if it is none. Raises `Refusal` for one that cannot be rewritten."""
    if node.target is not aten.softmax.int or not isinstance(node.args[0], Node):
        return None
    shape = shape_of(node)
    if shape is None or node.args[1] not in (-1, len(shape) - 1):
        return None
    after = _reader(node)
    if after is None or (second := _second_product(after[0], after[1])) is None:
        return None
    result, v, order = second
    scores, scale, mask, filled = _scores(node.args[0])
    first = _first_product(scores, len(shape))
    if first is None:
        return None
    q, k, alpha, bias = first
    q, k, alpha = _unscaled(q, k, alpha)
    if bias is not None:
        if mask is not None:
            raise Refusal("two masks are added to the scores")
        mask = bias
    return Match(node, result, q, k, v, order, scale * alpha, mask, filled)


def check(found: Match, constants: Mapping[Node, Recipe], state: State) -> Refusal | None:
    """Why the attention must stay as it is, or None."""
    shape = shape_of(found.softmax) or ()
    if not 3 <= len(shape) <= 4:
        return Refusal(f"scores of {len(shape)} axes")
    sizes = [d for d in shape[-2:] if isinstance(d, int)]
    if len(sizes) == 2 and math.prod(sizes) < _LEAST_SCORES:
        return Refusal(f"{sizes[0]}x{sizes[1]} scores are too few to gain by it")
    dtypes = {dtype_of(n) for n, _ in (found.q, found.k, found.v)}
    if len(dtypes) != 1:
        return Refusal("queries, keys and values of different dtypes")
    widths = {(shape_of(n) or ())[order[-1]] for n, order in (found.q, found.k, found.v)}
    if len({w for w in widths if isinstance(w, int)}) > 1:
        return Refusal("queries and values of different widths: the operator would take longer")
    if found.filled:
        assert found.mask is not None
        known = known_mask(found.mask, constants, state)
        if known is None:
            return Refusal("a fill mask that is not constant may leave a row without a key: NaN here, zeros there")
        if not known.every_row_has_a_key:
            return Refusal("the fill mask leaves a row without a key")
    elif found.mask is not None and dtype_of(found.mask) != dtypes.pop():
        return Refusal("the mask has another dtype than the queries")
    return None


def apply(graph: Graph, found: Match) -> Node:
    """Replaces the attention in the graph and returns the new value."""
    with graph.inserting_before(found.result):
        q, k, v = (_head_innermost(graph, _ordered(graph, n, order)) for n, order in (found.q, found.k, found.v))
        flat = len(shape_of(found.softmax) or ()) == 3
        if flat:
            q, k, v = (_valued(graph.call_function(aten.unsqueeze.default, (n, 0))) for n in (q, k, v))
        mask = found.mask
        if mask is not None and found.filled:
            mask = _valued(graph.call_function(aten.logical_not.default, (mask,)))
        mask = _as_the_operator_takes_it(graph, mask)
        attended = graph.call_function(
            aten.scaled_dot_product_attention.default, (q, k, v, mask), {"scale": found.scale}
        )
        attended.meta["nn_module_stack"] = found.softmax.meta.get("nn_module_stack")
        new = _valued(attended)
        if flat:
            new = _valued(graph.call_function(aten.squeeze.dim, (new, 0)))
        new = _ordered(graph, new, found.order)
    found.result.replace_all_uses_with(new)
    return new


def _head_innermost(graph: Graph, node: Node) -> Node:
    step = node.meta["val"].stride()[-1]
    return node if step == 1 else _valued(graph.call_function(aten.contiguous.default, (node,)))


def _as_the_operator_takes_it(graph: Graph, mask: Node | None) -> Node | None:
    """The mask with two or four axes; not a parameter itself, for which the operator falls back."""
    if mask is None:
        return None
    if mask.op == "get_attr":
        mask = _valued(graph.call_function(aten.alias.default, (mask,)))
    while _axes(mask) not in (2, 4):
        mask = _valued(graph.call_function(aten.unsqueeze.default, (mask, 0)))
    return mask


def _reader(softmax: Node) -> tuple[Node, Node] | None:
    """The product that reads the weights, and the weights as it reads them."""
    weights = softmax
    while len(weights.users) == 1:
        user = next(iter(weights.users))
        if user.target not in _PASS or shape_of(user) != shape_of(softmax) or dtype_of(user) != dtype_of(softmax):
            return user, weights
        weights = user
    if len(weights.users) > 1 and any(u.target in (*_PRODUCTS, aten.einsum.default) for u in weights.users):
        raise Refusal("the attention weights are read elsewhere too")
    return None


def _scores(value: Node) -> tuple[Node, float, Node | None, bool]:
    """Walks from the softmax's operand to the product: (product, scale, mask, whether it is a fill mask)."""
    scale, mask, filled = 1.0, None, False
    while True:
        a: Any = arguments(value) if isinstance(value.target, torch._ops.OpOverload) else {}
        step: Node | None = None
        if value.target in (aten.mul.Tensor, aten.div.Tensor) and isinstance(a["other"], (int, float)):
            step = a["self"]
            if step is not None:
                scale *= a["other"] if value.target is aten.mul.Tensor else 1 / a["other"]
        elif value.target is aten.add.Tensor and scale == 1.0 and a["alpha"] == 1 and isinstance(a["other"], Node):
            step, other = a["self"], a["other"]
            if not _alike(shape_of(step), shape_of(value)) or _is_mask(step):
                step, other = other, step
            if mask is not None:
                raise Refusal("two masks are added to the scores")
            mask = other
        elif value.target is aten.masked_fill.Scalar and scale == 1.0 and a["value"] == -math.inf and mask is None:
            step, mask, filled = a["self"], a["mask"], True
        elif value.target in _PASS and shape_of(value.args[0]) == shape_of(value):  # type: ignore[arg-type]
            step = value.args[0]  # type: ignore[assignment]
        if step is None or len(value.users) != 1 or not _alike(shape_of(step), shape_of(value)):
            return value, scale, mask, filled
        value = step


def _alike(a: Shape | None, b: Shape | None) -> bool:
    """Whether two shapes can be one: dynamic sizes may be written in different ways."""
    if a is None or b is None or len(a) != len(b):
        return False
    return all(m == n or not (isinstance(m, int) and isinstance(n, int)) for m, n in zip(a, b, strict=True))


def _unscaled(q: Operand, k: Operand, scale: float) -> tuple[Operand, Operand, float]:
    """Queries and keys without a factor that they carry alone; the factor goes into the scale."""
    plain = []
    for node, order in (q, k):
        while node.target in (aten.mul.Tensor, aten.div.Tensor) and len(node.users) == 1:
            by = node.args[1]
            if not isinstance(by, (int, float)) or not isinstance(node.args[0], Node):
                break
            scale *= by if node.target is aten.mul.Tensor else 1 / by
            node = node.args[0]
        plain.append((node, order))
    return plain[0], plain[1], scale


def _is_mask(value: Node) -> bool:
    return value.op != "call_function" or value.target not in (
        *_PRODUCTS,
        aten.einsum.default,
        aten.mul.Tensor,
        aten.div.Tensor,
        aten.add.Tensor,
        aten.baddbmm.default,
    )


def _first_product(scores: Node, ndim: int) -> tuple[Operand, Operand, float, Node | None] | None:
    if len(scores.users) != 1:
        return None
    plain = tuple(range(ndim))
    swapped = (*plain[:-2], ndim - 1, ndim - 2)
    if scores.target in _PRODUCTS:
        q, k = scores.args[:2]
        if isinstance(q, Node) and isinstance(k, Node) and _axes(q) == _axes(k) == ndim:
            return (q, plain), (k, swapped), 1.0, None
    if scores.target is aten.baddbmm.default:
        a: Any = arguments(scores)
        if a["beta"] in (0, 1):
            bias = a["self"] if a["beta"] else None
            return (a["batch1"], plain), (a["batch2"], swapped), float(a["alpha"]), bias
    letters = _einsum(scores)
    if letters is not None:
        (qs, ks), out, (q, k) = letters
        batch, query, key = out[:-2], out[-2], out[-1]
        inner = [c for c in qs if c in ks and c not in out]
        if len(inner) == 1 and set(qs) == {*batch, query, *inner} and set(ks) == {*batch, key, *inner}:
            return (
                (q, tuple(qs.index(c) for c in (*batch, query, *inner))),
                (k, tuple(ks.index(c) for c in (*batch, key, *inner))),
                1.0,
                None,
            )
    return None


def _second_product(product: Node, weights: Node) -> tuple[Node, Operand, tuple[int, ...]] | None:
    ndim = _axes(weights)
    plain = tuple(range(ndim))
    if product.target in _PRODUCTS:
        v = product.args[1]
        return (product, (v, plain), plain) if product.args[0] is weights and isinstance(v, Node) else None
    letters = _einsum(product)
    if letters is None or letters[2][0] is not weights:
        return None
    (ws, vs), out, (_, v) = letters
    batch, query, key = ws[:-2], ws[-2], ws[-1]
    inner = [c for c in vs if c not in ws]
    if len(inner) != 1 or set(vs) != {*batch, key, *inner} or set(out) != {*batch, query, *inner}:
        return None
    made = (*batch, query, *inner)
    return product, (v, tuple(vs.index(c) for c in (*batch, key, *inner))), tuple(made.index(c) for c in out)


def _einsum(node: Node) -> tuple[tuple[str, str], str, tuple[Node, Node]] | None:
    if node.target is not aten.einsum.default:
        return None
    equation, operands = node.args[:2]
    sides = str(equation).replace(" ", "").split("->")
    names = sides[0].split(",")
    if len(sides) != 2 or len(names) != 2 or "." in sides[0] or any(len(set(n)) != len(n) for n in names):
        return None
    assert isinstance(operands, (list, tuple))
    first, second = operands
    assert isinstance(first, Node)
    assert isinstance(second, Node)
    return (names[0], names[1]), sides[1], (first, second)


def _ordered(graph: Graph, node: Node, order: tuple[int, ...]) -> Node:
    if order == tuple(range(len(order))):
        return node
    return _valued(graph.call_function(aten.permute.default, (node, list(order))))


def _valued(node: Node) -> Node:
    """Gives a new node the fake tensor of its value, for its shape."""
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
    assert callable(node.target)
    mode = next(n.meta["val"].fake_mode for n in node.all_input_nodes if hasattr(n.meta["val"], "fake_mode"))
    with mode:
        node.meta["val"] = node.target(*args, **kwargs)
    return node


def _axes(value: Node) -> int:
    shape: Shape | None = shape_of(value)
    return len(shape or ())
