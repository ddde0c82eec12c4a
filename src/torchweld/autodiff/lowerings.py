"""Operators that move numbers, written as others: calls normalised to one primitive, or spelled out in several.

Each function has the name and arguments of the torch operator it stands for and returns the same value. They are
written in torch operations, so a traced argument takes them apart into primitives as it passes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from torchweld.autodiff.rows import shape_of
from torchweld.autodiff.shapes import CAST, CAT, EXPAND, FLIP, GETITEM, PERMUTE, REPEAT, RESHAPE, STACK
from torchweld.core import InputError


def _sizes(sizes):
    return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else tuple(sizes)


def reshape(x, *shape, **kwargs):
    return RESHAPE(x, tuple(kwargs.get("shape") or kwargs.get("size") or _sizes(shape)))


def view(x, *shape, **kwargs):
    if len(shape) == 1 and isinstance(shape[0], torch.dtype):
        raise InputError("view(dtype) reinterprets bits and has no derivative; use .to(dtype)")
    return reshape(x, *shape, **kwargs)


def flatten(x, start_dim=0, end_dim=-1):
    shape, rank = shape_of(x), max(len(shape_of(x)), 1)
    a, b = start_dim % rank, end_dim % rank
    return RESHAPE(x, (*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(x, dim, sizes):
    shape = shape_of(x)
    dim = dim % len(shape)
    sizes = [shape[dim] // -math.prod(sizes) if n == -1 else n for n in sizes]
    return RESHAPE(x, (*shape[:dim], *sizes, *shape[dim + 1 :]))


def squeeze(x, dim=None):
    shape = shape_of(x)
    dims = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    drop = {d % len(shape) for d in dims} if shape else set()
    return RESHAPE(x, tuple(n for i, n in enumerate(shape) if not (i in drop and n == 1)))


def unsqueeze(x, dim):
    shape = list(shape_of(x))
    shape.insert(dim % (len(shape) + 1), 1)
    return RESHAPE(x, tuple(shape))


def permute(x, *dims, **kwargs):
    return PERMUTE(x, tuple(d % len(shape_of(x)) for d in kwargs.get("dims") or _sizes(dims)))


def transpose(x, dim0, dim1):
    dims = list(range(len(shape_of(x))))
    if dims:
        dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return PERMUTE(x, tuple(dims))


def t(x):
    return PERMUTE(x, tuple(reversed(range(len(shape_of(x))))))


def mT(x):
    return transpose(x, -2, -1)


def movedim(x, source, destination):
    rank = len(shape_of(x))
    source, destination = ([d % rank for d in ((v,) if isinstance(v, int) else v)] for v in (source, destination))
    order = [d for d in range(rank) if d not in source]
    for d, s in sorted(zip(destination, source, strict=True)):
        order.insert(d, s)
    return PERMUTE(x, tuple(order))


def expand(x, *sizes, **kwargs):
    sizes = tuple(kwargs.get("size") or _sizes(sizes))
    old = (1,) * (len(sizes) - len(shape_of(x))) + tuple(shape_of(x))
    return EXPAND(x, tuple(o if n == -1 else n for n, o in zip(sizes, old, strict=True)))


def expand_as(x, other):
    return EXPAND(x, tuple(shape_of(other)))


def repeat(x, *sizes):
    return REPEAT(x, _sizes(sizes))


def tile(x, *dims):
    sizes = _sizes(dims)
    return REPEAT(x, (1,) * (len(shape_of(x)) - len(sizes)) + sizes)


def repeat_interleave(x, repeats, dim=None, *, output_size=None):
    x, dim = (x.flatten(), 0) if dim is None else (x, dim)
    index = torch.arange(shape_of(x)[dim], device=x.device)
    return x.index_select(dim, index.repeat_interleave(repeats if isinstance(repeats, int) else repeats.to(x.device)))


def flip(x, *dims):
    return FLIP(x, _sizes(dims))


def fliplr(x):
    return FLIP(x, (1,))


def flipud(x):
    return FLIP(x, (0,))


def narrow(x, dim, start, length):
    return GETITEM(x, (slice(None),) * (dim % len(shape_of(x))) + (slice(int(start), int(start) + length),))


def select(x, dim, index):
    return GETITEM(x, (slice(None),) * (dim % len(shape_of(x))) + (index,))


def unbind(x, dim=0):
    return tuple(select(x, dim, i) for i in range(shape_of(x)[dim]))


def split(x, split_size_or_sections, dim=0):
    n, sizes = shape_of(x)[dim], split_size_or_sections
    if isinstance(sizes, int):
        sizes = [min(sizes, n - i) for i in range(0, n, sizes)]
    return tuple(narrow(x, dim, sum(sizes[:i]), size) for i, size in enumerate(sizes))


def chunk(x, chunks, dim=0):
    return split(x, -(-shape_of(x)[dim] // chunks), dim)


def tensor_split(x, indices_or_sections, dim=0):
    n, cuts = shape_of(x)[dim], indices_or_sections
    if isinstance(cuts, int):
        cuts = [sum(n // cuts + (j < n % cuts) for j in range(i)) for i in range(1, cuts)]
    edges = [0, *cuts, n]
    return tuple(narrow(x, dim, a, b - a) for a, b in pairwise(edges))


def cat(tensors, dim=0, **_):
    return CAT(dim, *tensors)


def stack(tensors, dim=0, **_):
    return STACK(dim % (len(shape_of(tensors[0])) + 1), *tensors)


def to(x, *args, **kwargs):
    given = [*args, *(kwargs.get(k) for k in ("dtype", "device", "other"))]
    for want in given:
        if isinstance(want, Tensor):
            want = want.dtype
        if isinstance(want, torch.dtype) and not want.is_floating_point:
            return x.detach().to(want)
        if isinstance(want, torch.dtype | torch.device | str):
            x = CAST(x, want) if want != x.dtype else x
    return x


def type_as(x, other):
    return to(x, other.dtype)


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    # padding_idx freezes a row in training; as a function of the weight the row still counts
    return GETITEM(weight, indices)
