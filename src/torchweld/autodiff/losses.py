"""Losses spelled out in primitives, as `torch._C._nn` names and calls them; reduction is 0 none, 1 mean, 2 sum."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from torchweld.autodiff.rows import shape_of


def _reduced(loss, reduction):
    return loss if reduction == 0 else loss.mean() if reduction == 1 else loss.sum()


def mse_loss(input, target, reduction=1):
    return _reduced((input - target) ** 2, reduction)


def l1_loss(input, target, reduction=1):
    return _reduced(torch.abs(input - target), reduction)


def smooth_l1_loss(input, target, reduction=1, beta=1.0):
    if beta == 0:
        return l1_loss(input, target, reduction)
    e = torch.abs(input - target)
    return _reduced(torch.where(e < beta, 0.5 * e * e / beta, e - 0.5 * beta), reduction)


def huber_loss(input, target, reduction=1, delta=1.0):
    e = torch.abs(input - target)
    return _reduced(torch.where(e <= delta, 0.5 * e * e, delta * (e - 0.5 * delta)), reduction)


def binary_cross_entropy(input, target, weight=None, reduction=1):
    loss = -(target * torch.log(input).clamp(min=-100) + (1 - target) * torch.log1p(-input).clamp(min=-100))
    return _reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(input, target, weight=None, pos_weight=None, reduction=1):
    stronger = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    loss = (1 - target) * input - stronger * F.logsigmoid(input)
    return _reduced(loss if weight is None else loss * weight, reduction)


def kl_div(input, target, reduction=1, *, log_target=False):
    loss = torch.exp(target) * (target - input) if log_target else torch.xlogy(target, target) - target * input
    return _reduced(loss, reduction)


def nll_loss(input, target, weight=None, reduction=1, ignore_index=-100):
    axis = 0 if len(shape_of(input)) == 1 else 1
    used = target != ignore_index
    safe = target.clamp(min=0) * used
    share = used.to(input.dtype) * (1 if weight is None else weight[safe])
    loss = -input.gather(axis, safe.unsqueeze(axis)).squeeze(axis) * share
    return loss if reduction == 0 else loss.sum() / share.sum() if reduction == 1 else loss.sum()


def cross_entropy(input, target, weight=None, reduction=1, ignore_index=-100, label_smoothing=0.0):
    axis = 0 if len(shape_of(input)) == 1 else 1
    logs = torch.log_softmax(input, axis)
    classes = shape_of(input)[axis]
    each = None if weight is None else weight.reshape([-1] + [1] * (len(shape_of(input)) - axis - 1))
    if target.is_floating_point():
        target = target * (1 - label_smoothing) + label_smoothing / classes
        loss = -(target * (logs if each is None else logs * each)).sum(axis)
        count = math.prod(shape_of(loss))
        return loss if reduction == 0 else loss.sum() / count if reduction == 1 else loss.sum()
    hard = nll_loss(logs, target, weight, reduction, ignore_index)
    if not label_smoothing:
        return hard
    used = (target != ignore_index).to(input.dtype)
    even = -(logs if each is None else logs * each).sum(axis) * used
    share = used if weight is None else used * weight[target.clamp(min=0)]
    even = even if reduction == 0 else even.sum() / (share.sum() if reduction == 1 else 1)
    return (1 - label_smoothing) * hard + label_smoothing / classes * even
