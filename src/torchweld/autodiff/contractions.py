"""Products spelled out in primitives: matrix products of every rank, contractions, convolutions, linear algebra."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from torchweld.autodiff.products import CONV, DET, EINSUM, INVERSE, LINEAR_OPERATORS, LOGABSDET, MATMUL, OPERATE, SOLVE
from torchweld.autodiff.rows import shape_of


def matmul(a, b):
    rank_a, rank_b = len(shape_of(a)), len(shape_of(b))
    if rank_a == 1 and rank_b == 1:
        return (a * b).sum()
    if rank_a == 1:
        return MATMUL(a.unsqueeze(0), b).squeeze(-2)
    if rank_b == 1:
        return MATMUL(a, b.unsqueeze(-1)).squeeze(-1)
    if rank_b == 2 and rank_a > 2:
        return MATMUL(a.reshape(-1, shape_of(a)[-1]), b).reshape((*shape_of(a)[:-1], shape_of(b)[-1]))
    return MATMUL(a, b)


def rmatmul(a, b):
    return matmul(b, a)


def addmm(input, a, b, *, beta=1, alpha=1):
    product = matmul(a, b)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else product + (input if beta == 1 else input * beta)


def outer(a, b):
    return a.unsqueeze(1) * b.unsqueeze(0)


def einsum(equation, *operands):
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    equation = equation.replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    wide = max(
        (len(shape_of(x)) - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True) if "..." in t),
        default=0,
    )
    dots = "".join(spare[:wide])
    if not arrow:
        letters = sorted(c for c in set(inputs) if c.isalpha() and inputs.count(c) == 1)
        output = dots + "".join(letters)
    ready = []
    for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
        if "..." in term:
            own = len(shape_of(x)) - len(term) + 3
            term = term.replace("...", dots[len(dots) - own :])
        for c in dict.fromkeys(term):
            while term.count(c) > 1:  # a repeated letter reads a diagonal
                a = term.index(c)
                b = term.index(c, a + 1)
                x, term = x.diagonal(0, a, b), term[:a] + term[a + 1 : b] + term[b + 1 :] + c
        terms[i] = term
        ready.append(x)
    return EINSUM(f"{','.join(terms)}->{output.replace('...', dots)}", *ready)


def bilinear(x1, x2, weight, bias=None):
    y = einsum("...i,oij,...j->...o", x1, weight, x2)
    return y if bias is None else y + bias


def _tuple(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value) * (rank if len(value) == 1 else 1)


def _convolution(x, weight, bias, stride, padding, dilation, groups, transposed=False, output_padding=0):
    rank = len(shape_of(weight)) - 2
    stride, dilation = _tuple(stride, rank), _tuple(dilation, rank)
    if isinstance(padding, str):
        extents = [d * (k - 1) for d, k in zip(dilation, shape_of(weight)[2:], strict=True)]
        total = extents if padding == "same" else [0] * rank
        padding = [e // 2 for e in total]
        if any(e % 2 for e in total):  # an odd total goes one more to the far side
            x = F.pad(x, [n for e in reversed(total) for n in (0, e % 2)])
    batched = len(shape_of(x)) == rank + 2
    cfg = (stride, _tuple(padding, rank), dilation, transposed, _tuple(output_padding, rank), groups)
    y = CONV(x if batched else x.unsqueeze(0), weight, bias, cfg)
    return y if batched else y.squeeze(0)


def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return _convolution(input, weight, bias, stride, padding, dilation, groups)


def conv_transpose(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    return _convolution(input, weight, bias, stride, padding, dilation, groups, True, output_padding)


def linear_operator(name):
    """The lowering of one of `LINEAR_OPERATORS`: its other arguments become data of the one primitive."""

    def lowered(input, *args, **kwargs):
        return OPERATE(input, name, args, tuple(kwargs.items()))

    return lowered


def pad(input, pad, mode="constant", value=None):
    y = OPERATE(input, "pad", (list(pad), mode), ())
    if mode == "constant" and value:
        y = y + F.pad(torch.zeros(shape_of(input), dtype=input.dtype, device=input.device), pad, value=value)
    return y


def tensordot(a, b, dims_a, dims_b):
    """Contract axes `dims_a` of `a` with axes `dims_b` of `b`: one matrix product."""
    rank_a, rank_b = len(shape_of(a)), len(shape_of(b))
    over_a, over_b = ([d % n for d in ds] for ds, n in zip((dims_a, dims_b), (rank_a, rank_b), strict=True))
    free_a, free_b = ([d for d in range(n) if d not in over] for n, over in ((rank_a, over_a), (rank_b, over_b)))
    left = a.permute(*free_a, *over_a).reshape(-1, math.prod(shape_of(a)[d] for d in over_a))
    right = b.permute(*over_b, *free_b).reshape(math.prod(shape_of(b)[d] for d in over_b), -1)
    return (left @ right).reshape([*(shape_of(a)[d] for d in free_a), *(shape_of(b)[d] for d in free_b)])


def broadcast_tensors(*tensors):
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    shape = torch.broadcast_shapes(*(shape_of(x) for x in tensors))
    return tuple(x.expand(shape) for x in tensors)


def kron(a, b):
    rank = max(len(shape_of(a)), len(shape_of(b)))
    a, b = (x.reshape((1,) * (rank - len(shape_of(x))) + tuple(shape_of(x))) for x in (a, b))
    both = [n for pair in zip(shape_of(a), shape_of(b), strict=True) for n in pair]
    product = a.reshape([n for s in shape_of(a) for n in (s, 1)]) * b.reshape([n for s in shape_of(b) for n in (1, s)])
    return product.reshape([both[2 * i] * both[2 * i + 1] for i in range(rank)])


def diff(x, n=1, dim=-1):
    for _ in range(n):
        size = shape_of(x)[dim]
        x = x.narrow(dim, 1, size - 1) - x.narrow(dim, 0, size - 1)
    return x


def cdist(a, b, p=2.0, compute_mode=None):
    return torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, -1)


def trace(x):
    return x.diagonal().sum()


def det(a):
    return DET(a)


def slogdet(a):
    return torch.sign(det(a.detach())), LOGABSDET(a)


def logdet(a):
    return LOGABSDET(a)


def inverse(a):
    return INVERSE(a)


def solve(a, b, *, left=True):
    if not left:
        return solve(a.mT, b.mT).mT
    vector = len(shape_of(b)) == 1 or (len(shape_of(b)) == len(shape_of(a)) - 1 and shape_of(b) == shape_of(a)[:-1])
    return SOLVE(a, b.unsqueeze(-1)).squeeze(-1) if vector else SOLVE(a, b)


def cross(a, b, dim=-1):
    return a.roll(-1, dim) * b.roll(1, dim) - a.roll(1, dim) * b.roll(-1, dim)


DIRECT = {name: linear_operator(name) for name in LINEAR_OPERATORS if name != "pad"}
