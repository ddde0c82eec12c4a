"""Initialisation of weights by layer type, through any nesting.

    Xavier   Var w = 2 / (fan_in + fan_out)        Glorot & Bengio 2010: for tanh and the like
    Kaiming  Var w = gain^2 / fan                  He et al. 2015, https://arxiv.org/abs/1502.01852: for ReLU

A uniform draw from [-a, a] has variance a^2 / 3. Biases become 0; norms scale 1, shift 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from torchweld.core import InputError

Rule = Literal["xavier", "kaiming"]
Distribution = Literal["uniform", "normal"]
Fan = Literal["fan_in", "fan_out"]

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
_AFFINE = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def fans(
    weight: Tensor,  # (O, I, *kernel)
) -> tuple[int, int]:
    """Inputs that one output reads, outputs that one input feeds.

    >>> fans(torch.empty(8, 4, 3, 3))
    (36, 72)
    """
    if weight.ndim < 2:
        raise InputError(f"a weight of {tuple(weight.shape)} has no fans; it must have 2 dimensions or more")
    taps = weight[0, 0].numel()
    return weight.shape[1] * taps, weight.shape[0] * taps


def spread(weight: Tensor, rule: Rule = "kaiming", fan: Fan = "fan_in", activation: str = "relu") -> float:
    """The standard deviation that the rule gives this weight. Raises `InputError` for an unknown rule.

    `fan` matters to Kaiming only: `fan_in` keeps the variance of the forward pass, `fan_out` of the backward pass. The
    gain of `activation` applies to Kaiming; Xavier is defined without one.

    >>> round(spread(torch.empty(50, 50)), 4), round(spread(torch.empty(50, 50), "xavier"), 4)
    (0.2, 0.1414)
    """
    if activation not in GAINS:
        raise InputError(f"activation={activation!r} has no gain here; known are {', '.join(GAINS)}")
    inputs, outputs = fans(weight)
    if rule == "xavier":
        return math.sqrt(2 / (inputs + outputs))
    if rule != "kaiming" or fan not in ("fan_in", "fan_out"):
        raise InputError(f"rule={rule!r}, fan={fan!r}: the rules are xavier and kaiming, the fans fan_in and fan_out")
    return GAINS[activation] / math.sqrt(inputs if fan == "fan_in" else outputs)


def initialise(
    model: nn.Module,
    rule: Rule = "kaiming",
    distribution: Distribution = "normal",
    fan: Fan = "fan_in",
    activation: str = "relu",
    exceptions: Callable[[str, nn.Module], bool] | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Initialise every convolution, linear layer and norm inside `model`, in place, and return it.

    Layers of other kinds are left as they are, and so is each layer for which `exceptions(name, layer)` is true. Raises
    `InputError` for an unknown rule, distribution, fan or activation.

    >>> net = initialise(nn.Sequential(nn.Sequential(nn.Linear(400, 300)), nn.BatchNorm1d(300)), "xavier", "uniform")
    >>> net[0][0].weight.abs().max() <= math.sqrt(6 / 700), net[0][0].bias.abs().max().item()
    (tensor(True), 0.0)
    """
    if distribution not in ("uniform", "normal"):
        raise InputError(f"distribution={distribution!r} is neither 'uniform' nor 'normal'")
    with torch.no_grad():
        for name, layer in model.named_modules():
            if exceptions is not None and exceptions(name, layer):
                continue
            if isinstance(layer, _AFFINE):
                std = spread(layer.weight, rule, fan, activation)
                if distribution == "normal":
                    layer.weight.normal_(0, std, generator=generator)
                else:
                    layer.weight.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
            elif _is_norm(layer):
                for parameter, value in ((layer.weight, 1.0), (layer.bias, 0.0)):
                    if isinstance(parameter, Tensor):
                        parameter.fill_(value)
    return model


def _is_norm(layer: nn.Module) -> bool:
    from torchweld.layers.normalisation import BatchNorm1d, BatchNorm2d, LayerNorm

    return isinstance(layer, (*_NORMS, BatchNorm1d, BatchNorm2d, LayerNorm))
