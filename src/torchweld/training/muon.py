"""Muon: momentum made orthogonal, so that a step is as long along a kernel's weak directions as along its strong ones.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024 (https://kellerjordan.github.io/posts/muon/);
the length of a step is that of J. Liu et al., "Muon is Scalable for LLM Training", 2025 (https://arxiv.org/abs/2502.16982):
its root mean square is 0.2 lr, about AdamW's, so AdamW's learning rates serve.

Shapes: O rows, I columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torchweld.training.parameterwise import Parameterwise

_A, _B, _C = 3.4445, -4.7750, 2.0315  # Jordan's quintic: steep at 0, and near 1 it stays near 1
_RMS = 0.2


class Muon(Parameterwise):
    """`x <- (1 - lr * weight_decay) x - 0.2 lr sqrt(max(O, I)) * orthogonal(Nesterov's momentum)`.

    A tensor is the matrix of its first axis by all others together, a convolution's kernel too; a vector is one row,
    whose step is its momentum divided by its norm. On matrices it is `torch.optim.Muon` with
    `adjust_lr_fn="match_rms_adamw"`, which takes nothing else.

    >>> kernel = torch.randn(4, 2, 3, 3, requires_grad=True)
    >>> before = kernel.detach().clone()
    >>> kernel.square().sum().backward()
    >>> Muon([kernel], lr=0.1).step()
    >>> step = before - kernel.detach()
    >>> 0.7 < step.square().mean().sqrt() / (0.2 * 0.1) < 1.2
    tensor(True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        iterations: int = 5,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations}
        super().__init__(params, defaults)

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """See the class."""
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        ahead = gradient.add(average, alpha=group["momentum"])
        matrix = ahead.flatten(1) if ahead.ndim > 1 else ahead.view(1, -1)
        step = orthogonal(matrix, group["iterations"]).view(ahead.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(step, alpha=-group["lr"] * _RMS * max(matrix.shape) ** 0.5)


def orthogonal(
    matrix: Tensor,  # (O, I)
    iterations: int = 5,
) -> Tensor:  # (O, I)
    """Roughly `U V^T` of the singular value decomposition `U S V^T`: singular values become 0.7 to 1.2.

    By Newton and Schulz's iteration in bfloat16, which needs products alone; of a single row or column it is exact.
    Those of 1e-3 of the matrix's Frobenius norm and less stay smaller.

    >>> u = orthogonal(torch.randn(8, 20))
    >>> bool(((torch.linalg.svdvals(u) > 0.6) & (torch.linalg.svdvals(u) < 1.3)).all())
    True
    """
    scaled = matrix / matrix.norm().clamp_min(1e-7)
    if 1 in matrix.shape:
        return scaled
    x = scaled.bfloat16()
    if len(matrix) > matrix.shape[1]:
        x = x.mT
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x.mT if len(matrix) > matrix.shape[1] else x).to(matrix.dtype)
