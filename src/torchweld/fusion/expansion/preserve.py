"""Sets a fresh block to its convolution's function: in eval mode always, in training on the calibration batch.

The original is `y = gamma (W x - m) / sqrt(v + eps) + beta` in training, with the batch's statistics m and v, and the
same with the running ones M and V in eval mode. A side branch has a random kernel, whose output on the batch has
statistics m_i and v_i, and gets

    gamma_i = strength |gamma| sqrt(v_i / (v_i + eps))    M_i = m_i    beta_i = 0
    V_i + eps = (v_i + eps) (V + eps) / (v + eps)

so that its share of the output is the same in both modes, however far running statistics are from the batch's (before
the first step they are 0 and 1). The main branch takes the remainder in eval mode, exactly, K_i as they are then:

    U_0 = (s W - sum K_i) / s    s = gamma / sqrt(V + eps) = gamma_0 / sqrt(V_0 + eps)

All shares scale alike from one mode to the other, so training on the calibration batch agrees as well. Without norms in
the branches (`norm="after"`) there is one mode, and the remainder is all there is to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchweld.fusion.expansion.block import MAIN, Block, map_of_branch, numbers, summed
from torchweld.fusion.expansion.original import Original, exact, statistics
from torchweld.fusion.expansion.window import Convolution

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Precision:
    """The dtypes that a block will be stored in. Numbers are rounded to them before the remainder is taken."""

    conv: torch.dtype
    norm: torch.dtype

    def round(self, module: nn.Module) -> None:
        for part in module.modules():
            for t in _floats(part):
                t.data.copy_(t.data.to(self._of(part)))

    def cast(self, module: nn.Module) -> None:
        for part in module.modules():
            for t in _floats(part):
                t.data = t.data.to(self._of(part))

    def _of(self, part: nn.Module) -> torch.dtype:
        return self.norm if isinstance(part, _NORMS) else self.conv


def preserve(block: Block, original: Original, x: Tensor, strength: float, precision: Precision) -> None:
    """Sets a block whose branches end in norms; x (B, I, *sizes) is its input on the calibration batch."""
    o, sides = original, tuple(name for name in block.branches if name != MAIN)
    for name in sides:
        norm, mean, var = _calibrated(block, name, x)
        gamma = strength * o.gamma.abs() * (var / (var + norm.eps)).sqrt()
        _set(norm, gamma, torch.zeros_like(mean), mean, _running(var, o, norm.eps))
        precision.round(block.branches[name])
    taken, shift = summed(block, sides)
    conv = block.get_submodule(f"branches.{MAIN}.conv")
    target = _rows(o.factor, o.kernel) * o.kernel
    _remain(conv, target - taken, o.factor, o.kernel)
    norm, mean, var = _calibrated(block, MAIN, x)
    running = _running(var, o, norm.eps)
    _set(norm, o.factor * (running + norm.eps).sqrt(), o.beta, mean, running)
    precision.round(block.branches[MAIN])
    factor = exact(norm.weight) / (exact(norm.running_var) + norm.eps).sqrt()
    _remain(conv, target - taken, factor, o.kernel)
    # In training the output's mean is the sum of the betas. So beta stays, and the running mean takes the remainder,
    # but for what is lost where it is rounded.
    norm.running_mean.copy_(torch.where(factor != 0, (o.beta + shift - o.shift) / _not_zero(factor), mean))
    precision.round(norm)
    norm.bias.data.copy_(o.shift - shift + factor * exact(norm.running_mean))


def preserve_unnormed(
    block: Block, conv: Convolution, strength: float, precision: Precision, generator: torch.Generator
) -> None:
    """Sets a block without norms: side branches random shares of the kernel's size, the main kernel the rest."""
    kernel = exact(conv.weight)
    sides = tuple(name for name in block.branches if name != MAIN)
    for name in sides:
        # Parallel kernels without norms have one gradient up to these factors: factors that differ tell them apart.
        share = strength * (2 + 2 * torch.rand(len(kernel), generator=generator, dtype=torch.float64)) / 3
        side = numbers(block, map_of_branch(block, name, stop="scale"))[0]
        scale: Any = block.get_submodule(f"branches.{name}.scale")
        scale.weight.data.copy_(share * _norms(kernel) / _not_zero(_norms(side)))
        precision.round(block.branches[name])
    taken, _ = summed(block, sides)
    main: Any = block.get_submodule(f"branches.{MAIN}.conv")
    main.weight.data.copy_(kernel - taken)


def _calibrated(block: Block, name: str, x: Tensor) -> tuple[Any, Tensor, Tensor]:
    """The norm that ends a branch, with the statistics of what it reads; norms before it are set on the way."""
    branch: Any = block.branches[name]
    *stages, last = branch.children()
    for stage in stages:
        if isinstance(stage, _NORMS):
            mean, var = statistics(x)
            _set(stage, torch.ones_like(mean), torch.zeros_like(mean), mean, var)
            x = stage.eval()(x)
            stage.train(block.training)
        else:
            x = stage(x)
    return last, *statistics(x)


def _running(var: Tensor, o: Original, eps: float) -> Tensor:
    return ((var + eps) * o.ratio - eps).clamp(min=0)


def _set(norm: Any, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor) -> None:
    for tensor, value in ((norm.weight, gamma), (norm.bias, beta), (norm.running_mean, mean), (norm.running_var, var)):
        tensor.data.copy_(value)


def _remain(conv: Any, rest: Tensor, factor: Tensor, kernel: Tensor) -> None:
    """The kernel that, times the factor, is the rest; the original's where the factor is 0, as in a zero-init norm."""
    own = _rows(factor, rest)
    conv.weight.data.copy_(torch.where(own != 0, rest / _not_zero(own), kernel))


def _rows(values: Tensor, kernel: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (kernel.ndim - 1))


def _norms(kernel: Tensor) -> Tensor:
    return kernel.flatten(1).norm(dim=1)


def _not_zero(values: Tensor) -> Tensor:
    return torch.where(values != 0, values, 1)


def _floats(module: nn.Module) -> list[Tensor]:
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return [t for t in own if t.is_floating_point()]
