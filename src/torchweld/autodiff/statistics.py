"""Reductions and networks' layers spelled out in primitives: extremes, moments, norms, pooling, attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from torchweld.autodiff.products import EUCLIDEAN_NORM
from torchweld.autodiff.rows import shape_of
from torchweld.core import InputError


def _plain(x: Tensor) -> Tensor:
    return x.detach()


def maximum_along(x, dim=None, keepdim=False):
    """`max` in its three forms: of all, along an axis with positions, of two tensors."""
    return _extreme(x, dim, keepdim, torch.max, torch.maximum, torch.amax)


def minimum_along(x, dim=None, keepdim=False):
    return _extreme(x, dim, keepdim, torch.min, torch.minimum, torch.amin)


def _extreme(x, dim, keepdim, along, of_two, of_all):
    if dim is None:
        return of_all(x)
    if isinstance(dim, Tensor):
        return of_two(x, dim)
    found = along(_plain(x), dim, keepdim)
    return type(found)((_taken(x, found.indices, dim, keepdim), found.indices))


def _taken(x, indices, dim, keepdim):
    if not shape_of(x):
        return x
    values = x.gather(dim, indices if keepdim else indices.unsqueeze(dim))
    return values if keepdim else values.squeeze(dim)


def _by_indices(operator):
    """An operator that picks elements along an axis and says which: its value is a gather at those positions."""

    def picked(x, *args, **kwargs):
        found = operator(_plain(x), *args, **kwargs)
        return type(found)((x.gather(_picked_dim(operator, args, kwargs), found.indices), found.indices))

    return picked


def _picked_dim(operator, args, kwargs):
    position = 1 if operator is torch.topk else 0
    return kwargs.get("dim", args[position] if len(args) > position and not isinstance(args[position], bool) else -1)


sort = _by_indices(torch.sort)
topk = _by_indices(torch.topk)


def median(x, dim=None, keepdim=False):
    if dim is None:
        return median(x.flatten(), 0)[0]
    found = torch.median(_plain(x), dim, keepdim)
    return type(found)((_taken(x, found.indices, dim, keepdim), found.indices))


def prod(x, dim=None, keepdim=False, *, dtype=None):
    if dim is None:
        return prod(x.flatten(), 0)
    while (n := shape_of(x)[dim]) > 1:  # halving keeps every factor apart, so a zero factor divides nothing
        half, odd = n // 2, n % 2
        low, high = x.narrow(dim, 0, half), x.narrow(dim, half, half)
        x = torch.cat([low * high, x.narrow(dim, n - 1, 1)], dim) if odd else low * high
    return x if keepdim else x.squeeze(dim)


def cumprod(x, dim, *, dtype=None):
    step, n = 1, shape_of(x)[dim]
    while step < n:
        x = torch.cat([x.narrow(dim, 0, step), x.narrow(dim, step, n - step) * x.narrow(dim, 0, n - step)], dim)
        step *= 2
    return x


def _centred(x, dim, correction, unbiased):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    dims = tuple(range(len(shape_of(x)))) if dim is None else dim
    mean = x.mean(dims, keepdim=True)
    count = math.prod(shape_of(x)) // max(math.prod(shape_of(mean)), 1)
    return dims, x - mean, count - (1 if correction is None else correction)


def var(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    dims, centred, count = _centred(x, dim, correction, unbiased)
    return (centred * centred).sum(dims, keepdim=keepdim) / count


def std(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    dims, centred, count = _centred(x, dim, correction, unbiased)
    return torch.linalg.vector_norm(centred, 2, dims, keepdim) / math.sqrt(count)


def var_mean(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    dims, *_ = _centred(x, dim, correction, unbiased)
    return var(x, dim, unbiased, keepdim, correction=correction), x.mean(dims, keepdim=keepdim)


def std_mean(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    dims, *_ = _centred(x, dim, correction, unbiased)
    return std(x, dim, unbiased, keepdim, correction=correction), x.mean(dims, keepdim=keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    ord = float(ord)
    if dim is None and len(shape_of(x)) != 1 and not keepdim:
        x = x.flatten()
    dims = tuple(range(len(shape_of(x)))) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    size = torch.abs(x)
    if ord == 2:
        return EUCLIDEAN_NORM(x, dims, keepdim)
    if ord == 1:
        return size.sum(dims, keepdim=keepdim)
    if math.isinf(ord):
        return (torch.amax if ord > 0 else torch.amin)(size, dims, keepdim)
    if ord == 0:
        return torch.linalg.vector_norm(_plain(x), 0, dims, keepdim)
    return (size**ord).sum(dims, keepdim=keepdim) ** (1 / ord)


def dropout(x, p=0.5, train=True):
    # torch's own draw on ones of the same shape: the same positions for the same generator state
    return x * torch.dropout(torch.ones(shape_of(x), dtype=x.dtype, device=x.device), p, True) if train and p else x


def max_pool(rank):
    """Max pooling of a spatial rank: a gather at the positions torch finds."""
    operator = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]

    def pooled(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        _, at = operator(_plain(input), kernel_size, stride or None, padding, dilation, ceil_mode, True)
        value = _at_positions(input, at, rank)
        return (value, at) if return_indices else value

    return pooled


def adaptive_max_pool(rank):
    operator = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}[rank]

    def pooled(input, output_size, return_indices=False):
        _, at = operator(_plain(input), output_size, True)
        value = _at_positions(input, at, rank)
        return (value, at) if return_indices else value

    return pooled


def _at_positions(x, at, rank):
    lead = len(shape_of(x)) - rank
    return x.flatten(lead).gather(lead, at.flatten(lead)).reshape(shape_of(at))


def _affine(x, weight, bias, shape):
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True):
    shape = [1, -1] + [1] * (len(shape_of(x)) - 2)
    mean, variance = running_mean, running_var
    if training or running_mean is None:
        dims = [i for i in range(len(shape_of(x))) if i != 1]
        mean, variance = x.mean(dims), var(x, dims, correction=0)
        if training and running_mean is not None:
            count = math.prod(shape_of(x)) // shape_of(x)[1]
            with torch.no_grad():
                running_mean.lerp_(_plain(mean).to(running_mean.dtype), momentum)
                running_var.lerp_(_plain(variance).to(running_var.dtype) * count / (count - 1), momentum)
    scale = torch.rsqrt(variance + eps)
    return _affine((x - mean.reshape(shape)) * scale.reshape(shape), weight, bias, shape)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    dims = tuple(range(-len(normalized_shape), 0))
    centred = input - input.mean(dims, keepdim=True)
    return _affine(
        centred * torch.rsqrt((centred * centred).mean(dims, keepdim=True) + eps), weight, bias, normalized_shape
    )


def rms_norm(input, normalized_shape, weight=None, eps=None):
    dims = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(input * torch.rsqrt((input * input).mean(dims, keepdim=True) + eps), weight, None, normalized_shape)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    n, c = shape_of(input)[:2]
    rows = input.reshape(n, num_groups, -1)
    centred = rows - rows.mean(-1, keepdim=True)
    normal = centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps)
    return _affine(normal.reshape(shape_of(input)), weight, bias, [1, c] + [1] * (len(shape_of(input)) - 2))


def instance_norm(x, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled=True):
    if not use_input_stats:
        return batch_norm(x, weight, bias, running_mean, running_var, False, momentum, eps)
    if running_mean is not None:
        raise InputError("instance_norm with tracked running statistics: no rule; use track_running_stats=False")
    return group_norm(x, shape_of(x)[1], weight, bias, eps)


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        repeats = shape_of(query)[-3] // shape_of(key)[-3]
        key, value = (t.repeat_interleave(repeats, -3) for t in (key, value))
    scores = query @ key.mT * (1 / math.sqrt(shape_of(query)[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(shape_of(scores)[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    blind = (_plain(scores) == -math.inf).all(-1, keepdim=True)  # a query that may see nothing gives zeros, not NaN
    weights = torch.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)
    return dropout(weights, dropout_p, dropout_p > 0) @ value


def glu(x, dim=-1):
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def prelu(x, weight):
    shape = [1, -1] + [1] * (len(shape_of(x)) - 2) if len(shape_of(x)) > 1 and math.prod(shape_of(weight)) > 1 else -1
    return torch.where(x > 0, x, weight.reshape(shape) * x)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    a, b = (x / torch.linalg.vector_norm(x, 2, dim, True).clamp_min(eps) for x in (x1, x2))
    return (a * b).sum(dim)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    return torch.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim)
