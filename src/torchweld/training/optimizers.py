"""Optimisers by name: `torch.optim`'s, Muon, and the notes' Adagrad, which divides by the root *mean* square.

Biases, norms' scales and other vectors are not decayed: weight decay holds matrices and kernels near zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from torchweld.core import InputError
from torchweld.training.config import Config
from torchweld.training.muon import Muon
from torchweld.training.parameterwise import Parameterwise


class MeanSquareAdagrad(Parameterwise):
    """`x <- x - lr * g / sqrt(mean of all past g^2, this one included)`: Adagrad with the mean in place of the sum.

    Its first step has the length `lr` along each axis, and on a steady gradient so has every other: the rate does not
    die as `torch.optim.Adagrad`'s does, which divides by the root of the *sum*.

    >>> x = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> (x**2).sum().backward()
    >>> MeanSquareAdagrad([x], lr=0.1).step()
    >>> x.detach()
    tensor([ 0.9000, -1.9000])
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.01, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """See the class."""
        gradient = gradient + group["weight_decay"] * parameter
        if not state:
            state["step"], state["sum"] = torch.tensor(0.0), torch.zeros_like(parameter)
        state["step"] += 1
        state["sum"].addcmul_(gradient, gradient)
        root = (state["sum"] / state["step"].to(parameter.device)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(gradient, root, value=-group["lr"])


def _sgd(groups: Sequence[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    nesterov = config.momentum > 0
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov, fused=True)


def _adamw(groups: Sequence[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), fused=True)


def _adam(groups: Sequence[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), fused=True)


def _adagrad(groups: Sequence[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(groups, lr=config.learning_rate)


def _rmsprop(groups: Sequence[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=config.learning_rate, alpha=config.momentum)


def _mean_square_adagrad(groups: Sequence[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    return MeanSquareAdagrad(groups, lr=config.learning_rate)


def _muon(groups: Sequence[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    return Muon(groups, lr=config.learning_rate, momentum=config.momentum)


OPTIMIZERS: dict[str, Callable[[Sequence[dict[str, Any]], Config], torch.optim.Optimizer]] = {
    "sgd": _sgd,  # Nesterov's momentum, plain where momentum is 0
    "adamw": _adamw,  # momentum is beta1
    "adam": _adam,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,  # momentum is alpha, the memory of past squares
    "mean_square_adagrad": _mean_square_adagrad,
    "muon": _muon,  # learning rates are AdamW's
}


def build_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The optimiser that `config` names, over the parameters that are not frozen.

    Each group carries `rate_factor`, by which the loop multiplies the schedule's rate: 1, or what `config.rates` says
    for the first name pattern that matches. Raises `InputError` for a pattern that matches no parameter, and if
    nothing is left to train.
    """
    chosen: dict[tuple[float, float], list[Tensor]] = {}
    unused = {pattern for pattern, _ in config.rates}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        pattern, factor = next(((p, f) for p, f in config.rates if fnmatchcase(name, p)), ("", 1.0))
        unused.discard(pattern)
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        chosen.setdefault((factor, decay), []).append(parameter)
    if unused:
        raise InputError(f"rates: no parameter that is trained matches {sorted(unused)[0]!r}; names look like "
                         f"{next(iter(dict(model.named_parameters())))!r}")  # fmt: skip
    if not chosen:
        raise InputError("every parameter is frozen; free some by a narrower pattern in `freeze`")
    groups = [
        {"params": parameters, "weight_decay": decay, "rate_factor": factor}
        for (factor, decay), parameters in chosen.items()
    ]
    return OPTIMIZERS[config.optimizer](groups, config)
