"""Every operator of the table called once or more, each with the numbers it is defined on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Domain = tuple[float, float]
REAL, POSITIVE, UNIT, ABOVE_ONE = (-2.0, 2.0), (0.2, 3.0), (-0.9, 0.9), (1.1, 3.0)

_EVERYWHERE = """neg positive sin cos atan sinh cosh tanh asinh exp exp2 expm1 square abs sigmoid erf erfc sinc relu
    deg2rad rad2deg frac floor ceil round trunc sign celu selu nan_to_num"""
_ABOVE_ZERO = "log log2 log10 log1p sqrt rsqrt reciprocal lgamma digamma"
_PAIRS = "add sub mul maximum minimum fmax fmin atan2 hypot logaddexp logaddexp2 copysign"

UNARY: dict[str, Domain] = dict.fromkeys(_EVERYWHERE.split(), REAL) | dict.fromkeys(_ABOVE_ZERO.split(), POSITIVE)
UNARY |= dict.fromkeys(("tan", "asin", "acos", "atanh", "erfinv"), UNIT) | {"acosh": ABOVE_ONE, "logit": (0.05, 0.95)}

BINARY: dict[str, tuple[Domain, Domain]] = dict.fromkeys(_PAIRS.split(), (REAL, REAL))
BINARY |= {"div": (REAL, POSITIVE), "pow": (POSITIVE, REAL), "remainder": (REAL, POSITIVE), "fmod": (REAL, POSITIVE)}
BINARY |= {"xlogy": (REAL, POSITIVE)}

_I = torch.tensor([2, 0, 2])
_MASK = torch.tensor([[True, False, True], [False, True, True]])

Case = tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]

CASES: dict[str, Case] = {
    # activations
    "relu6": (lambda x: F.relu6(3 * x), ((3, 4),)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.03), ((3, 4),)),
    "elu": (lambda x: F.elu(x, 0.7), ((3, 4),)),
    "celu": (lambda x: F.celu(x, 0.5), ((3, 4),)),
    "gelu": (F.gelu, ((3, 4),)),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), ((3, 4),)),
    "silu": (F.silu, ((3, 4),)),
    "mish": (F.mish, ((3, 4),)),
    "softplus": (lambda x: F.softplus(x, 2, 3), ((3, 4),)),
    "softsign": (F.softsign, ((3, 4),)),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 0.8), ((3, 4),)),
    "hardswish": (lambda x: F.hardswish(3 * x), ((3, 4),)),
    "hardshrink": (F.hardshrink, ((3, 4),)),
    "softshrink": (F.softshrink, ((3, 4),)),
    "threshold": (lambda x: F.threshold(x, 0.3, 7.0), ((3, 4),)),
    "logsigmoid": (F.logsigmoid, ((3, 4),)),
    "tanhshrink": (F.tanhshrink, ((3, 4),)),
    "glu": (lambda x: F.glu(x, -1), ((3, 4),)),
    "clamp": (lambda x: x.clamp(-0.4, 0.5), ((3, 4),)),
    "clamp tensors": (lambda x, a, b: torch.clamp(x, a - 1, b + 1), ((3, 4), (4,), (3, 1))),
    "clamp_min": (lambda x: x.clamp_min(0.1), ((3, 4),)),
    "clamp_max": (lambda x: torch.clamp_max(x, 0.1), ((3, 4),)),
    "polygamma": (lambda x: torch.polygamma(2, x.abs() + 0.5), ((3,),)),
    "logit eps": (lambda x: torch.logit(torch.sigmoid(x), 0.3), ((5,),)),
    # arithmetic forms
    "reversed": (lambda x: 2 - x + 3 / (x * x + 1) - 2**x + 5 * x + (1 + x), ((3,),)),
    "power of a number": (lambda x: x**3 - x**0 + (x * x) ** 0.5 + x**2 + x**-1, ((4,),)),
    "add alpha": (lambda x, y: torch.add(x, y, alpha=2.5) - torch.sub(x, y, alpha=0.5), ((2, 3), (3,))),
    "addcmul": (lambda x, a, b: torch.addcmul(x, a, b, value=0.3) + torch.addcdiv(x, a, b * b + 1), ((3,), (3,), (3,))),
    "lerp": (lambda a, b, w: torch.lerp(a, b, w) + torch.lerp(a, b, 0.25), ((3,), (3,), (3,))),
    "where": (lambda x, y: torch.where(x > y, x * y, y.sin()), ((2, 3), (3,))),
    "masked_fill": (lambda x, v: x.masked_fill(_MASK, v.sum()), ((2, 3), ())),
    "in place": (lambda x: (x * 1).mul_(2).add_(x).sub_(0.3).neg_(), ((3, 4),)),
    "in place operators": (lambda x: _in_place_operators(x), ((3, 4),)),
    "setitem": (lambda x, v: _set(x, v), ((3, 4), (4,))),
    "copy fill zero": (lambda x: _copied(x), ((3, 4),)),
    # the same numbers elsewhere
    "reshape": (lambda x: x.reshape(2, -1) @ x.view(6, 2), ((3, 4),)),
    "flatten": (lambda x: x.flatten(1).unflatten(1, (2, -1)).ravel(), ((2, 2, 3),)),
    "squeeze": (lambda x: x.unsqueeze(1).squeeze().unsqueeze(-1).squeeze(-1) * 2, ((3, 1, 4),)),
    "permute": (lambda x: x.permute(2, 0, 1) * x.permute((2, 0, 1)), ((2, 3, 4),)),
    "transpose": (lambda x: x.transpose(0, -1).mT @ x.swapaxes(0, 2), ((2, 3, 2),)),
    "T": (lambda x: x.T @ x + x.t() @ x, ((3, 2),)),
    "movedim": (lambda x: x.movedim((0, 1), (2, 0)) ** 2, ((2, 3, 4),)),
    "expand": (
        lambda x, y: x.expand(2, -1, 4) * y.expand_as(x.expand(2, 3, 4)) + x.broadcast_to((2, 3, 4)),
        ((3, 1), (4,)),
    ),
    "repeat": (lambda x: x.repeat(2, 1, 3) + x.tile(2, 1, 3), ((2, 3),)),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, 0) * x.repeat_interleave(2, dim=0), ((2, 3),)),
    "flip roll": (lambda x: x.flip(0) * x.flip((0, 1)) * x.roll(1, 0) * x.roll((1, 2), (0, 1)) * x.fliplr(), ((2, 3),)),
    "narrow select": (lambda x: x.narrow(1, 1, 2) * x.select(1, 0).unsqueeze(1), ((2, 3),)),
    "unbind": (lambda x: x.unbind(1)[0] * x.unbind(1)[2] + sum(row for row in x.T), ((2, 3),)),
    "split": (
        lambda x: x.split(2, 1)[0] * x.split([2, 3], 1)[0] * x.chunk(3, 1)[1] * x.tensor_split(3, 1)[0],
        ((2, 5),),
    ),
    "cat": (lambda x, y: torch.cat([x, y, x], 1).sin() + torch.cat((x, x, y), dim=-1), ((2, 3), (2, 1))),
    "stack": (lambda x, y: torch.stack([x, y], -1).prod(-1) + torch.stack((x, y)).sum(0), ((2, 3), (2, 3))),
    "getitem": (lambda x: x[0] * x[1, :] * x[..., 1:][:, :1].sum() * x[None, -1] * x[:, ::2][1, 0], ((2, 3),)),
    "getitem tensors": (lambda x: x[:, _I] * x[:, [0, 0, 1]] * x[_I - 1].sum(), ((3, 3),)),
    "getitem mask": (lambda x: x[_MASK] ** 2, ((2, 3),)),
    "masked_select": (lambda x: x.masked_select(_MASK) ** 2, ((2, 3),)),
    "index_select": (lambda x: x.index_select(1, _I) ** 2, ((2, 3),)),
    "gather": (lambda x: x.gather(1, _I.expand(2, 3)) ** 2 + torch.take_along_dim(x, _I.expand(2, 3), 1), ((2, 3),)),
    "index_add": (lambda x, s: torch.index_add(x, 1, _I, s, alpha=0.7) ** 2, ((2, 3), (2, 3))),
    "scatter_add": (lambda x, s: x.scatter_add(1, _I.expand(2, 3), s) ** 2, ((2, 3), (2, 3))),
    "diagonal": (lambda x: torch.diagonal(x, 1) * x.diag()[1:] * x.trace() + torch.diag(x[0])[0, 0], ((3, 3),)),
    "diag_embed": (lambda x: torch.diag_embed(x).sum(0) ** 2, ((2, 3),)),
    "tril": (lambda x: x.tril() @ x.triu(1), ((3, 3),)),
    "unfold": (lambda x: x.unfold(1, 3, 2).sin(), ((2, 7),)),
    "clone": (lambda x: x.clone() * x.contiguous() * x.to(torch.float64) * x.double(), ((3,),)),
    "embedding": (lambda w: F.embedding(torch.tensor([[0, 2], [2, 1]]), w) ** 2, ((3, 4),)),
    "dtype": (lambda x: x.float().double().to(torch.float64) * 2, ((3,),)),
    # reductions
    "sum": (lambda x: x.sum() * x.sum(0) * x.sum((0, 1), keepdim=True) * torch.sum(x, dim=0), ((2, 3),)),
    "mean": (lambda x: x.mean() * x.mean(-1, keepdim=True) * x.mean(dim=(0,)), ((2, 3),)),
    "amax": (lambda x: x.amax(1) * x.amin(1) * torch.amax(x) + x.amin(), ((2, 3),)),
    "max": (
        lambda x, y: x.max(1).values * x.min(1, keepdim=True)[0].squeeze() + torch.max(x, y).sum() * x.max(),
        ((2, 3), (2, 3)),
    ),
    "sort": (
        lambda x: x.sort(1, descending=True)[0][:, :3] * torch.topk(x, 3, 1).values * x.sort()[0][:, 1:],
        ((2, 4),),
    ),
    "median": (lambda x: x.median(1).values * x.median(), ((2, 3),)),
    "prod": (lambda x: x.prod() + x.prod(1).sum() + x.prod(0, keepdim=True), ((3, 5),)),
    "cumsum": (lambda x: x.cumsum(1) * x.cumsum(0), ((3, 5),)),
    "cumprod": (lambda x: x.cumprod(1), ((3, 5),)),
    "var": (lambda x: x.var() * x.var(1) * x.std(1, unbiased=False) + torch.std(x, 1, correction=0), ((2, 4),)),
    "var_mean": (lambda x: sum(torch.var_mean(x, 1)) * sum(torch.std_mean(x, dim=1, correction=0)), ((2, 4),)),
    "norms": (lambda x: x.norm() + x.norm(dim=1) * x.norm(p=1, dim=1) + torch.linalg.norm(x[0]) + x.norm(3), ((2, 3),)),
    "vector_norm": (lambda x: torch.linalg.vector_norm(x, 4, 1) * torch.linalg.vector_norm(x, torch.inf, 1), ((2, 3),)),
    "logsumexp": (lambda x: torch.logsumexp(x, 1) * x.logsumexp((0, 1), keepdim=True), ((2, 3),)),
    "softmax": (lambda x: x.softmax(1) * F.softmax(x, 0) * torch.softmax(x, -1), ((2, 3),)),
    "log_softmax": (lambda x: x.log_softmax(1) * F.log_softmax(x, 0), ((2, 3),)),
    "normalize": (lambda x: F.normalize(x, dim=1) * F.cosine_similarity(x, x.flip(0), dim=1)[:, None], ((2, 3),)),
    # products
    "matmul": (lambda a, b: a @ b * a.mm(b), ((2, 3), (3, 4))),
    "matmul ranks": (
        lambda a, b, v: (a @ b @ v) * torch.einsum("bij,jk,k->bi", a, b, v) + (v @ b.T).sum(),
        ((2, 4, 3), (3, 5), (5,)),
    ),
    "bmm": (lambda a, b: torch.bmm(a, b) + torch.baddbmm(a @ b, a, b, beta=0.5, alpha=2), ((2, 3, 4), (2, 4, 5))),
    "mv dot outer": (lambda a, v: (a.mv(v).dot(v) + torch.inner(v, v)) * torch.outer(v, v), ((3, 3), (3,))),
    "addmm": (lambda c, a, b: torch.addmm(c, a, b, beta=0.3, alpha=2.0), ((4,), (2, 3), (3, 4))),
    "linear": (lambda x, w, b: F.linear(x, w, b) * F.linear(x, w), ((2, 5, 3), (4, 3), (4,))),
    "bilinear": (lambda x, y, w, b: F.bilinear(x, y, w, b), ((2, 3), (2, 4), (5, 3, 4), (5,))),
    "einsum": (
        lambda a, b: torch.einsum("...ij,...jk->...ik", a, b) + torch.einsum("bij,bjk", a, b),
        ((2, 3, 4), (2, 4, 5)),
    ),
    "einsum traces": (lambda a, b: torch.einsum("ii,jk->k", a, b) * torch.einsum("ii->i", a).sum(), ((3, 3), (2, 4))),
    "cross": (lambda a, b: torch.linalg.cross(a, b), ((2, 3), (2, 3))),
    "tensordot kron": (
        lambda a, b: torch.tensordot(a, b, ([1], [0])) ** 2 + torch.kron(a, b)[:2, :3].sum() + a.diff(dim=1).sum(),
        ((2, 3), (3, 3)),
    ),
    "distances": (lambda a, b: F.pairwise_distance(a, b) + torch.dist(a, b), ((2, 3), (2, 3))),
    "stacks": (
        lambda a, b: torch.hstack([a, b]).sum() * torch.vstack([a, b]) * torch.column_stack([a, b])[:, :3].sum(),
        ((2, 3), (2, 3)),
    ),
    "prelu": (F.prelu, ((2, 3, 2), (3,))),
    "inverse": (lambda a: torch.linalg.inv(a + 4 * torch.eye(3).double()) @ a.inverse(), ((3, 3),)),
    "solve": (lambda a, b: torch.linalg.solve(a + 4 * torch.eye(3).double(), b) ** 2, ((3, 3), (3, 2))),
    "solve vector": (lambda a, b: torch.linalg.solve(a + 4 * torch.eye(3).double(), b) ** 2, ((3, 3), (3,))),
    "det": (
        lambda a: torch.linalg.det(a) + torch.logdet(a @ a.mT + torch.eye(3).double()) + torch.slogdet(a)[1],
        ((3, 3),),
    ),
    "cholesky": (lambda a: torch.linalg.cholesky(a @ a.mT + torch.eye(3).double()) ** 2, ((3, 3),)),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1, 1, 2), ((2, 4, 9), (6, 2, 3), (6,))),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        ((2, 3, 7, 8), (4, 3, 3, 2), (4,)),
    ),
    "conv2d same": (lambda x, w: F.conv2d(x, w, padding="same", dilation=3), ((2, 3, 7, 8), (4, 3, 2, 3))),
    "conv3d": (lambda x, w: F.conv3d(x, w, padding=1), ((1, 2, 3, 4, 3), (2, 2, 2, 3, 2))),
    "conv_transpose": (lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 2), ((2, 4, 4, 3), (4, 3, 3, 3), (6,))),
    "conv unbatched": (lambda x, w: F.conv2d(x, w), ((3, 5, 5), (2, 3, 3, 3))),
    "pools": (
        lambda x: (
            F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False) * F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        ),
        ((2, 3, 7, 8),),
    ),
    "pool1d": (lambda x: F.avg_pool1d(x, 2) * F.max_pool1d(x, 2) * F.adaptive_avg_pool1d(x, 4), ((2, 3, 8),)),
    "pool3d": (lambda x: F.avg_pool3d(x, 2) * F.max_pool3d(x, 2), ((1, 2, 4, 4, 4),)),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)) * F.adaptive_max_pool2d(x, (3, 2)), ((2, 3, 7, 8),)),
    "interpolate": (
        lambda x: (
            F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            * F.interpolate(x, size=(8, 10), mode="bicubic")
            * F.interpolate(x, scale_factor=2)
        ),
        ((2, 3, 4, 5),),
    ),
    "pads": (
        lambda x: (
            F.pad(x, (1, 2, 0, 1))
            * F.pad(x, (1, 2, 0, 1), mode="reflect")
            * F.pad(x, (1, 2, 0, 1), value=2.0)
            * F.pad(x, (1, 2, 0, 1), mode="circular")
            * F.pad(x, (1, 2, 0, 1), mode="replicate")
        ),
        ((2, 3, 4, 5),),
    ),
    "pixels": (lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2).sin(), 2) * F.channel_shuffle(x, 2), ((2, 4, 3, 3),)),
    "unfold image": (lambda x: F.fold(F.unfold(x, 3, padding=1) ** 2, (4, 5), 3, padding=1), ((2, 3, 4, 5),)),
    # layers and losses
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), ((2, 3, 4), (4,), (4,))),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), ((2, 4, 3), (4,), (4,))),
    "rms_norm": (lambda x, w: F.rms_norm(x, (4,), w, 1e-5), ((2, 3, 4), (4,))),
    "instance_norm": (lambda x: F.instance_norm(x), ((2, 3, 4),)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), ((4, 3, 2), (3,), (3,))),
    "batch_norm eval": (
        lambda x, w, b: F.batch_norm(x, torch.arange(3.0).double(), torch.arange(1.0, 4).double(), w, b),
        ((4, 3, 2), (3,), (3,)),
    ),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        ((2, 3, 4), (2, 3, 4), (2, 3, 5)),
    ),
    "attention mask": (
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m),
        ((2, 3, 4), (2, 5, 4), (2, 5, 2), (3, 5)),
    ),
    "mse": (lambda x, y: F.mse_loss(x, y) + F.l1_loss(x, y, reduction="sum"), ((2, 3), (2, 3))),
    "huber": (lambda x, y: F.huber_loss(x, y, delta=0.7), ((2, 3), (2, 3))),
    "smooth_l1": (lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0.7), ((2, 3), (2, 3))),
    "bce": (lambda x: F.binary_cross_entropy(torch.sigmoid(x), _MASK.double()), ((2, 3),)),
    "bce logits": (
        lambda x, w: F.binary_cross_entropy_with_logits(x, _MASK.double(), pos_weight=w.exp()),
        ((2, 3), (3,)),
    ),
    "kl": (lambda x, y: F.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean"), ((2, 3), (2, 3))),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, torch.tensor([2, 0]), torch.tensor([0.2, 1.0, 3.0]).double(), label_smoothing=0.1),
        ((2, 3),),
    ),
    "cross_entropy ignore": (lambda x: F.cross_entropy(x, torch.tensor([[2, -100], [0, 1]])), ((2, 3, 2),)),
    "cross_entropy soft": (lambda x, y: F.cross_entropy(x, y.softmax(1)), ((2, 3), (2, 3))),
    "nll": (lambda x: F.nll_loss(x.log_softmax(1), torch.tensor([2, 0])), ((2, 3),)),
}


def _in_place_operators(x: Tensor) -> Tensor:
    y = x * 1
    y += x
    y *= x
    y -= 0.5
    y /= x * x + 1
    return y


def _set(x: Tensor, v: Tensor) -> Tensor:
    y = x * 1
    y[1] = v
    y[:, 0] = v[0] * 2
    y[x > 1.5] = 0.25
    return y * x


def _copied(x: Tensor) -> Tensor:
    y, z = torch.sin(x), torch.cos(x)
    y.copy_(x[0] ** 2)
    z.zero_()
    return y * x + z + (x * 2).fill_(3.0) * x


def draw(shape: tuple[int, ...], domain: Domain, seed: int) -> Tensor:
    """Numbers of a domain, away from ties and from the whole numbers where steps and kinks lie."""
    generator = torch.Generator().manual_seed(seed)
    low, high = domain
    x = low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=generator)
    near = (x - x.round()).abs() < 0.02
    return torch.where(near, x.round() + 0.03 * (1 if high < 1 or low >= 0 else -1) * torch.ones_like(x), x).clamp(
        low, high
    )
