"""Primitives that multiply and add: products, reductions, convolutions, linear operators torch can transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from torchweld.autodiff.rows import REST, Row, linear, row, shape_of
from torchweld.autodiff.shapes import EXPAND


def _axes(dim, rank):
    dims = range(rank) if dim is None or dim == () or dim == [] else (dim,) if isinstance(dim, int) else dim
    return tuple(d % rank for d in dims) if rank else ()


def kept(reduced, x, dim, keepdim):
    """A reduced value with its axes back as 1s, ready to broadcast against `x`."""
    rank = len(shape_of(x))
    if keepdim or rank == 0:
        return reduced
    shape = [1 if i in _axes(dim, rank) else n for i, n in enumerate(shape_of(x))]
    return reduced.reshape(shape)


def _spread(g, x, dim, keepdim, *_):
    return EXPAND(kept(g, x, dim, keepdim), shape_of(x))


def _count(x, dim):
    count = 1
    for axis in _axes(dim, len(shape_of(x))):
        count *= shape_of(x)[axis]
    return count


def _share(x, y, dim, keepdim):
    """Where `x` equals the extreme value `y`, its share of it: ties are divided evenly."""
    hit = x == kept(y, x, dim, keepdim)
    count = hit.sum(dim=_axes(dim, x.dim()), keepdim=True) if x.dim() else hit
    return hit.to(x.dtype) / count


def _weighted(share):
    """Rules of a reduction whose derivative is a weight for each element: dot them forward, spread them back."""
    return (
        {0: lambda t, y, x, dim, keep: (t * share(x, y, dim, keep)).sum(_axes(dim, x.dim()), keepdim=bool(keep))},
        {0: lambda g, y, x, dim, keep: kept(g, x, dim, keep) * share(x, y, dim, keep)},
    )


def _norm_share(x, y, dim, keepdim):
    y = kept(y, x, dim, keepdim)
    zero = y == 0  # the subgradient of least norm: 0 at the origin
    return torch.where(zero, torch.zeros((), dtype=y.dtype, device=y.device), x / torch.where(zero, 1.0, y))


def _softmax_tangent(t, y, x, dim, dtype=None):
    return y * (t - (y * t).sum(dim, keepdim=True))


def _log_softmax_adjoint(g, y, x, dim, dtype=None):
    return g - torch.exp(y) * g.sum(dim, keepdim=True)


EUCLIDEAN_NORM: Row = row(
    "euclidean_norm",
    lambda input, dim, keepdim: torch.linalg.vector_norm(input, 2, dim, keepdim),
    *_weighted(_norm_share),
)  # x / |x|, 0 at the origin

REDUCTIONS: tuple[Row, ...] = (
    linear("sum", lambda input, dim=None, keepdim=False, dtype=None: torch.sum(input, _axes(dim, input.dim()),
           keepdim=bool(keepdim), dtype=dtype), _spread),  # every part moves the sum by itself
    linear("mean", lambda input, dim=None, keepdim=False, dtype=None: torch.mean(input, _axes(dim, input.dim()),
           keepdim=bool(keepdim), dtype=dtype),
           lambda g, x, dim, keep, *p: _spread(g, x, dim, keep) / _count(x, dim)),  # the sum over n
    row("amax", lambda input, dim=(), keepdim=False: torch.amax(input, dim, keepdim), *_weighted(_share)),  # [x = max]
    row("amin", lambda input, dim=(), keepdim=False: torch.amin(input, dim, keepdim), *_weighted(_share)),  # [x = min]
    row("logsumexp", lambda input, dim, keepdim=False: torch.logsumexp(input, dim, keepdim),
        *_weighted(lambda x, y, dim, keep: torch.exp(x - kept(y, x, dim, keep)))),  # the softmax
    EUCLIDEAN_NORM,
    linear("cumsum", lambda input, dim, dtype=None: torch.cumsum(input, dim, dtype=dtype),
           lambda g, x, dim, *p: g.flip((dim,)).cumsum(dim).flip((dim,))),  # the sum from the other end
    row("softmax", lambda input, dim, dtype=None: torch.softmax(input, dim, dtype=dtype),
        {0: _softmax_tangent}, {0: _softmax_tangent}),  # y (dx - <y, dx>), symmetric
    row("log_softmax", lambda input, dim, dtype=None: torch.log_softmax(input, dim, dtype=dtype),
        {0: lambda t, y, x, dim, *p: t - (torch.exp(y) * t).sum(dim, keepdim=True)},
        {0: _log_softmax_adjoint}),  # dx - <softmax, dx>
)  # fmt: skip


def _einsum_part(g, equation, i, operands):
    """The adjoint of operand `i`: contract the output's with every other operand, spread what was summed alone."""
    inputs, output = equation.split("->")
    terms = inputs.split(",")
    others = [(t, x) for j, (t, x) in enumerate(zip(terms, operands, strict=True)) if j != i]
    seen = set(output).union(*(set(t) for t, _ in others))
    reachable = "".join(c for c in terms[i] if c in seen)
    part = torch.einsum(f"{','.join([output, *(t for t, _ in others)])}->{reachable}", g, *(x for _, x in others))
    shape = shape_of(operands[i])
    part = part.reshape([n if c in seen else 1 for c, n in zip(terms[i], shape, strict=True)])
    return part.expand(shape)


def _einsum_tangent(t, y, i, equation, *operands):
    return EINSUM(equation, *operands[: i - 1], t, *operands[i:])


EINSUM: Row = row(
    "einsum", lambda equation, *operands: torch.einsum(equation, *operands),
    {REST: _einsum_tangent}, {REST: lambda g, y, i, equation, *ops: _einsum_part(g, equation, i - 1, ops)}, variadic=1,
)  # fmt: skip  # linear in each operand

MATMUL: Row = row(
    "matmul", lambda input, other: torch.matmul(input, other),
    {0: lambda t, y, a, b: torch.matmul(t, b), 1: lambda t, y, a, b: torch.matmul(a, t)},
    {0: lambda g, y, a, b: torch.matmul(g, b.mT), 1: lambda g, y, a, b: torch.matmul(a.mT, g)},
)  # fmt: skip  # d(AB) = dA B + A dB


def _linear_weight(g, y, x, w, b):
    return torch.matmul(g.reshape(-1, shape_of(g)[-1]).mT, x.reshape(-1, shape_of(x)[-1]))


LINEAR: Row = row(
    "linear", lambda input, weight, bias=None: F.linear(input, weight, bias),
    {0: lambda t, y, x, w, b: LINEAR(t, w, None), 1: lambda t, y, x, w, b: LINEAR(x, t, None),
     2: lambda t, y, x, w, b: t},
    {0: lambda g, y, x, w, b: torch.matmul(g, w), 1: _linear_weight, 2: lambda g, y, x, w, b: g},
)  # fmt: skip  # dx W' + x dW' + db


def _conv_input(g, w, shape, cfg):
    return _conv_adjoints(g, g.new_zeros(shape), w, cfg, 0)


def _conv_weight(g, x, shape, cfg):
    return _conv_adjoints(g, x, g.new_zeros(shape), cfg, 1)


def _conv_adjoints(g, x, w, cfg, which):
    mask = [which == 0, which == 1, False]
    return torch.ops.aten.convolution_backward(g, x, w, None, *cfg, mask)[which]


def _channels(b, y):
    return b.reshape(1, -1, *[1] * (len(shape_of(y)) - 2))


# cfg = (stride, padding, dilation, transposed, output_padding, groups), as torch.convolution takes them
CONV: Row = row(
    "convolution", lambda input, weight, bias, cfg: torch.convolution(input, weight, bias, *cfg),
    {0: lambda t, y, x, w, b, cfg: CONV(t, w, None, cfg), 1: lambda t, y, x, w, b, cfg: CONV(x, t, None, cfg),
     2: lambda t, y, x, w, b, cfg: _channels(t, y)},
    {0: lambda g, y, x, w, b, cfg: CONV_INPUT(g, w, shape_of(x), cfg),
     1: lambda g, y, x, w, b, cfg: CONV_WEIGHT(g, x, shape_of(w), cfg),
     2: lambda g, y, x, w, b, cfg: g.sum([0, *range(2, len(shape_of(g)))])},
)  # fmt: skip  # w*x + b: linear in each of x, w, b
CONV_INPUT: Row = row(
    "convolution_input_adjoint", _conv_input,
    {0: lambda t, y, g, w, s, cfg: CONV_INPUT(t, w, s, cfg), 1: lambda t, y, g, w, s, cfg: CONV_INPUT(g, t, s, cfg)},
    {0: lambda h, y, g, w, s, cfg: CONV(h, w, None, cfg),
     1: lambda h, y, g, w, s, cfg: CONV_WEIGHT(g, h, shape_of(w), cfg)},
)  # fmt: skip  # <A(g, w), x> = <g, w*x>
CONV_WEIGHT: Row = row(
    "convolution_weight_adjoint", _conv_weight,
    {0: lambda t, y, g, x, s, cfg: CONV_WEIGHT(t, x, s, cfg), 1: lambda t, y, g, x, s, cfg: CONV_WEIGHT(g, t, s, cfg)},
    {0: lambda h, y, g, x, s, cfg: CONV(x, h, None, cfg),
     1: lambda h, y, g, x, s, cfg: CONV_INPUT(g, h, shape_of(x), cfg)},
)  # fmt: skip  # <W(g, x), w> = <g, w*x>

LINEAR_OPERATORS: dict[
    str, Callable[..., Any]
] = {  # operators linear in their first argument whose transpose torch computes
    "avg_pool1d": torch.avg_pool1d,
    "avg_pool2d": F.avg_pool2d,
    "avg_pool3d": F.avg_pool3d,
    "adaptive_avg_pool1d": torch.adaptive_avg_pool1d,
    "adaptive_avg_pool2d": torch._C._nn.adaptive_avg_pool2d,
    "adaptive_avg_pool3d": torch._C._nn.adaptive_avg_pool3d,
    "upsample_nearest1d": torch._C._nn.upsample_nearest1d,
    "upsample_nearest2d": torch._C._nn.upsample_nearest2d,
    "upsample_nearest3d": torch._C._nn.upsample_nearest3d,
    "upsample_linear1d": torch._C._nn.upsample_linear1d,
    "upsample_bilinear2d": torch._C._nn.upsample_bilinear2d,
    "upsample_trilinear3d": torch._C._nn.upsample_trilinear3d,
    "upsample_bicubic2d": torch._C._nn.upsample_bicubic2d,
    "pixel_shuffle": torch.pixel_shuffle,
    "pixel_unshuffle": torch.pixel_unshuffle,
    "channel_shuffle": torch.channel_shuffle,
    "im2col": torch._C._nn.im2col,
    "col2im": torch._C._nn.col2im,
    "pad": torch._C._nn.pad,
}


def _transposed(g, name, shape, args, kwargs):
    zeros = torch.zeros(shape, dtype=g.dtype, device=g.device)
    return torch.func.vjp(lambda x: LINEAR_OPERATORS[name](x, *args, **dict(kwargs)), zeros)[1](g)[0]


OPERATE: Row = row(
    "linear_operator", lambda input, name, args, kwargs: LINEAR_OPERATORS[name](input, *args, **dict(kwargs)),
    {0: lambda t, y, x, *op: OPERATE(t, *op)},
    {0: lambda g, y, x, name, *op: TRANSPOSE(g, name, shape_of(x), *op)},
)  # fmt: skip  # y = Lx, dy = L dx
TRANSPOSE: Row = row(
    "linear_operator_transposed", _transposed,
    {0: lambda t, y, g, name, shape, *op: TRANSPOSE(t, name, shape, *op)},
    {0: lambda h, y, g, name, shape, *op: OPERATE(h, name, *op)},
)  # fmt: skip  # <L'g, x> = <g, Lx>

INVERSE: Row = row(
    "inverse", torch.linalg.inv,
    {0: lambda t, y, a: -(y @ t @ y)}, {0: lambda g, y, a: -(y.mT @ g @ y.mT)},
)  # fmt: skip  # dA^-1 = -A^-1 dA A^-1
SOLVE: Row = row(
    "solve", lambda A, B: torch.linalg.solve(A, B),
    {0: lambda t, x, a, b: -SOLVE(a, t @ x), 1: lambda t, x, a, b: SOLVE(a, t)},
    {0: lambda g, x, a, b: -(SOLVE(a.mT, g) @ x.mT), 1: lambda g, x, a, b: SOLVE(a.mT, g)},
)  # fmt: skip  # dX = A^-1 (dB - dA X)
DET: Row = row(
    "det", torch.linalg.det,
    {0: lambda t, y, a: y * INVERSE(a).mul(t.mT).sum((-2, -1))},
    {0: lambda g, y, a: (g * y)[..., None, None] * INVERSE(a).mT},
)  # fmt: skip  # d det A = det A tr(A^-1 dA)
LOGABSDET: Row = row(
    "logabsdet", lambda A: torch.linalg.slogdet(A)[1],
    {0: lambda t, y, a: INVERSE(a).mul(t.mT).sum((-2, -1))}, {0: lambda g, y, a: g[..., None, None] * INVERSE(a).mT},
)  # fmt: skip  # d ln|det A| = tr(A^-1 dA)


def _half(m):
    return torch.tril(m) - 0.5 * torch.diag_embed(m.diagonal(0, -2, -1))


def _cholesky_tangent(t, l, a):
    inverse = INVERSE(l)
    return l @ _half(inverse @ (0.5 * (t + t.mT)) @ inverse.mT)


def _cholesky_adjoint(g, l, a):
    inverse = INVERSE(l)
    s = inverse.mT @ _half(l.mT @ g) @ inverse
    return 0.5 * (s + s.mT)


CHOLESKY: Row = row(
    "cholesky", torch.linalg.cholesky, {0: _cholesky_tangent}, {0: _cholesky_adjoint}
)  # dL = L half(L^-1 dA L^-T)

PRODUCTS: tuple[Row, ...] = (
    *REDUCTIONS, EINSUM, MATMUL, LINEAR, CONV, CONV_INPUT, CONV_WEIGHT, OPERATE, TRANSPOSE,
    INVERSE, SOLVE, DET, LOGABSDET, CHOLESKY,
)  # fmt: skip
