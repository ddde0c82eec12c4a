"""Primitives that move numbers without changing them: views, indexing, joining. All linear; the adjoint moves back."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from torchweld.autodiff.rows import REST, Row, linear, row, shape_of, unbroadcast


def _zeros(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    return g.new_zeros(tuple(shape))


def _placed(g, shape, index):
    out = _zeros(g, shape)
    tensors = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, Tensor | list) for i in tensors):
        plain = [torch.as_tensor(i, device=g.device) if isinstance(i, list) else i for i in tensors]
        if all(isinstance(i, Tensor) for i in plain):
            return out.index_put(tuple(plain), g, accumulate=True)
        # mixed slices and tensors: number the cells, index the numbers, add at those cells
        cells = torch.arange(prod(shape), device=g.device).reshape(shape)[index]
        return out.flatten().index_add(0, cells.flatten(), g.reshape(-1)).reshape(shape)
    out[index] = g
    return out


def _inverse(dims, rank):
    return tuple(sorted(range(rank), key=lambda i: dims[i] % rank))


def _unrepeat(g, x, sizes):
    shape = shape_of(x)
    lead = len(sizes) - len(shape)
    split = [n for pair in zip(sizes, (1,) * lead + tuple(shape), strict=True) for n in pair]
    return g.reshape(split).sum(tuple(range(0, 2 * len(sizes), 2))).reshape(shape)


def _joint_where(tangents, y, condition, a, b):
    zero = torch.zeros((), dtype=y.dtype, device=y.device)
    return torch.where(condition, tangents.get(1, zero), tangents.get(2, zero))


def _span(i, dim, tensors):
    """Start and length of tensor `i` along the axis that tensors are joined on."""
    lengths = [shape_of(t)[dim] if shape_of(t) != (0,) else 0 for t in tensors]
    return sum(lengths[:i]), lengths[i]


def _joint_cat(tangents, y, dim, *tensors):
    return torch.cat(
        [tangents[i + 1] if i + 1 in tangents else torch.zeros_like(t) for i, t in enumerate(tensors)], dim
    )


def _joint_stack(tangents, y, dim, *tensors):
    return torch.stack(
        [tangents[i + 1] if i + 1 in tangents else torch.zeros_like(t) for i, t in enumerate(tensors)], dim
    )


def _assigned(x, index, value):
    out = x.clone(memory_format=torch.contiguous_format)
    out[index] = value
    return out


def _resized(shape):
    return lambda g, x, *p: g.reshape(shape_of(x))


PLACE: Row = row(
    "place",  # the adjoint of indexing: g at `index`, added where an index repeats, zero elsewhere
    _placed,
    {0: lambda t, y, g, shape, index: PLACE(t, shape, index)},
    {0: lambda h, y, g, shape, index: GETITEM(h, index)},
)
GETITEM: Row = linear(
    "getitem", lambda input, index: input[index], lambda g, x, index: PLACE(g, shape_of(x), index), view=True
)  # x[i]
RESHAPE: Row = linear(
    "reshape", lambda input, shape: input.reshape(shape), lambda g, x, shape: g.reshape(shape_of(x)), view=True
)  # the same numbers
PERMUTE: Row = linear(
    "permute",
    lambda input, dims: input.permute(dims),
    lambda g, x, dims: g.permute(_inverse(dims, len(dims))),
    view=True,
)  # the inverse permutation comes back
EXPAND: Row = linear(
    "expand", lambda input, shape: input.expand(shape), lambda g, x, shape: unbroadcast(g, shape_of(x)), view=True
)  # copies are summed
REPEAT: Row = linear("repeat", lambda input, sizes: input.repeat(sizes), _unrepeat)  # copies are summed
FLIP: Row = linear("flip", lambda input, dims: input.flip(dims), lambda g, x, dims: g.flip(dims))  # its own inverse
ROLL: Row = linear(
    "roll",
    lambda input, shifts, dims: input.roll(shifts, dims),
    lambda g, x, shifts, dims: g.roll(tuple(-s for s in shifts) if isinstance(shifts, tuple) else -shifts, dims),
)  # rolled back
CAST: Row = linear(
    "cast", lambda input, to: input.to(to), lambda g, x, to: g.to(x.dtype)
)  # precision changes, not value
CLONE: Row = linear(
    "clone", lambda input, memory_format=torch.preserve_format: input.clone(memory_format=memory_format),
    lambda g, x, *p: g,
)  # fmt: skip  # dx
CAT: Row = row(
    "cat", lambda dim, *tensors: torch.cat(tensors, dim), {},
    {REST: lambda g, y, i, dim, *ts: g.narrow(dim, *_span(i - 1, dim, ts)) if _span(i - 1, dim, ts)[1]
     else g.new_zeros(shape_of(ts[i - 1]))},
    joint=_joint_cat, variadic=1,
)  # fmt: skip  # each part gets its stretch back
STACK: Row = row(
    "stack", lambda dim, *tensors: torch.stack(tensors, dim), {},
    {REST: lambda g, y, i, dim, *ts: g.select(dim, i - 1)}, joint=_joint_stack, variadic=1,
)  # fmt: skip  # each part gets its slice back
WHERE: Row = row(
    "where", lambda condition, input, other: torch.where(condition, input, other), {},
    {1: lambda g, y, c, a, b: torch.where(c, g, torch.zeros((), dtype=g.dtype, device=g.device)),
     2: lambda g, y, c, a, b: torch.where(c, torch.zeros((), dtype=g.dtype, device=g.device), g)},
    joint=_joint_where,
)  # fmt: skip  # the branch not taken gets exactly zero
SETITEM: Row = row(
    "setitem", lambda input, index, value: _assigned(input, index, value),
    {0: lambda t, y, x, index, v: SETITEM(t, index, 0.0),
     2: lambda t, y, x, index, v: SETITEM(torch.zeros_like(y), index, t)},
    {0: lambda g, y, x, index, v: SETITEM(g, index, 0.0), 2: lambda g, y, x, index, v: g[index]},
)  # fmt: skip  # overwritten numbers stop mattering


def _on_diagonal(g, shape, offset, dim1, dim2):
    out = _zeros(g, shape)
    out.diagonal(offset, dim1, dim2).copy_(g)
    return out


PLACE_DIAGONAL: Row = row(
    "place_diagonal",  # the adjoint of reading a diagonal
    _on_diagonal,
    {0: lambda t, y, g, shape, *p: PLACE_DIAGONAL(t, shape, *p)},
    {0: lambda h, y, g, shape, *p: h.diagonal(*p)},
)


def _overlap_add(g, shape, dim, size, step):
    rank = len(shape)
    dim = dim % rank
    windows = torch.arange(shape[dim]).unfold(0, size, step)
    moved = g.movedim(dim, -2)  # (..., windows, size), as the cells are numbered
    flat = moved.reshape(*shape_of(moved)[:-2], -1)
    lead = [n for i, n in enumerate(shape) if i != dim]
    return g.new_zeros([*lead, shape[dim]]).index_add(rank - 1, windows.flatten().to(g.device), flat).movedim(-1, dim)


SHAPES: tuple[Row, ...] = (
    PLACE, PLACE_DIAGONAL, GETITEM, RESHAPE, PERMUTE, EXPAND, REPEAT, FLIP, ROLL, CAST, CLONE, CAT, STACK, WHERE,
    SETITEM,
    linear("index_select", lambda input, dim, index: input.index_select(dim, index),
           lambda g, x, dim, index: _zeros(g, shape_of(x)).index_add(dim, index, g)),  # rows add up where picked twice
    linear("gather", lambda input, dim, index, sparse_grad=False: input.gather(dim, index),
           lambda g, x, dim, index, sparse: _zeros(g, shape_of(x)).scatter_add(dim, index, g)),  # the same by element
    linear("masked_select", lambda input, mask: input.masked_select(mask),
           lambda g, x, mask: PLACE(g, torch.broadcast_shapes(shape_of(x), mask.shape),
                                    mask.expand(torch.broadcast_shapes(shape_of(x), mask.shape)))),  # to its cells
    row("masked_fill", lambda input, mask, value: input.masked_fill(mask, value),
        {0: lambda t, y, x, mask, v: t.masked_fill(mask, 0), 2: lambda t, y, x, mask, v: t * mask},
        {0: lambda g, y, x, mask, v: g.masked_fill(mask, 0), 2: lambda g, y, x, mask, v: g * mask}),  # 0 where filled
    linear("diagonal", lambda input, offset=0, dim1=0, dim2=1: input.diagonal(offset, dim1, dim2),
           lambda g, x, *p: PLACE_DIAGONAL(g, shape_of(x), *p), view=True),  # onto the diagonal
    linear("diag_embed", lambda input, offset=0, dim1=-2, dim2=-1: input.diag_embed(offset, dim1, dim2),
           lambda g, x, offset, d1, d2: g.diagonal(offset, d1, d2)),  # off the diagonal
    linear("tril", lambda input, diagonal=0: input.tril(diagonal), lambda g, x, k: g.tril(k)),  # a mask
    linear("triu", lambda input, diagonal=0: input.triu(diagonal), lambda g, x, k: g.triu(k)),  # a mask
    linear("unfold", lambda input, dimension, size, step: input.unfold(dimension, size, step),
           lambda g, x, dim, size, step: _overlap_add(g, shape_of(x), dim, size, step)),  # windows overlap-add
    row("index_add", lambda input, dim, index, source, alpha=1: input.index_add(dim, index, source, alpha=alpha),
        {0: lambda t, y, x, dim, i, s, k: t,
         3: lambda t, y, x, dim, i, s, k: torch.zeros_like(y).index_add(dim, i, t * k)},
        {0: lambda g, y, x, dim, i, s, k: g, 3: lambda g, y, x, dim, i, s, k: g.index_select(dim, i) * k}),  # x + k P s
    row("scatter_add", lambda input, dim, index, src: input.scatter_add(dim, index, src),
        {0: lambda t, y, x, dim, i, s: t, 3: lambda t, y, x, dim, i, s: torch.zeros_like(y).scatter_add(dim, i, t)},
        {0: lambda g, y, x, dim, i, s: g, 3: lambda g, y, x, dim, i, s: g.gather(dim, i)}),  # x + P s
)  # fmt: skip
