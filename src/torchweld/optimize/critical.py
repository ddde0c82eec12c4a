"""What a critical point is: minimum, maximum or saddle by the curvatures there, *undecided* where they cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.optimize.evaluation import Ask, Objective


@dataclass(frozen=True, eq=False)
class Critical:
    """The verdict on a point: `kind` is minimum, maximum, saddle, undecided or "not critical".

    `eigenvalues` (n,) of the Hessian rise; `direction` (n,) is that of the least, the way down from a saddle.
    """

    kind: str
    gradient_norm: float
    eigenvalues: Tensor
    direction: Tensor

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {"kind": self.kind, "gradient_norm": self.gradient_norm, "eigenvalues": self.eigenvalues.tolist(),
                "direction": self.direction.tolist()}  # fmt: skip


def classify(
    f: Callable[[Tensor], Tensor],
    x: Any,
    *,
    gradient_tolerance: float = 1e-5,
    singular: float = 1e-8,
    derivatives: str = "func",
) -> Critical:
    """Classify the critical point `x` (n,) of `f` by the second-order condition.

    A curvature within `singular` times the largest (or 1) counts as zero: with no negative curvature, or no positive
    one, such a point is *undecided*, for higher orders may turn it either way. Raises `InputError` if `f` is not
    finite there.

    >>> classify(lambda x: x[0] ** 2 - x[1] ** 2, [0.0, 0.0]).kind
    'saddle'
    >>> classify(lambda x: x[0] ** 4 + x[1] ** 2, [0.0, 0.0]).kind
    'undecided'
    """
    point = torch.as_tensor(x, dtype=torch.float64).reshape(-1)
    seen = Objective(f, derivatives=derivatives).answer([Ask(point, "fgh")])[0]
    if not (seen.gradient.isfinite().all() and seen.hessian.isfinite().all()):
        raise InputError(f"the derivatives at {point.tolist()} are not finite")
    values, vectors = torch.linalg.eigh(0.5 * (seen.hessian + seen.hessian.mT))
    norm = seen.gradient.abs().max().item()
    zero = singular * max(1.0, values.abs().max().item())
    least, most = values[0].item(), values[-1].item()
    if norm > gradient_tolerance:
        kind = "not critical"
    elif least < -zero and most > zero:
        kind = "saddle"
    elif least > zero:
        kind = "minimum"
    elif most < -zero:
        kind = "maximum"
    else:
        kind = "undecided"
    return Critical(kind, norm, values, vectors[:, 0])


def gradients_by_depth(
    activation: Callable[[Tensor], Tensor],
    depths: tuple[int, ...],
    *,
    width: int = 64,
    gain: float = 1.0,
    residual: bool = False,
    seed: int = 0,
) -> dict[int, float]:
    """How gradients vanish: the norm of d(sum of the output)/d(input) of random dense networks, by their depth.

    Weights are normal with variance `gain**2 / width`; with `residual` each layer adds its input.

    >>> norms = gradients_by_depth(torch.sigmoid, (1, 10))
    >>> norms[10] < 1e-4 * norms[1]
    True
    """
    generator = torch.Generator().manual_seed(seed)
    norms = {}
    for depth in depths:
        weights = gain * torch.randn(depth, width, width, dtype=torch.float64, generator=generator) / width**0.5
        x = torch.randn(width, dtype=torch.float64, generator=generator)

        def network(x: Tensor, weights: Tensor = weights) -> Tensor:
            for weight in weights:
                x = activation(weight @ x) + (x if residual else 0)
            return x.sum()

        norms[depth] = torch.func.grad(network)(x).norm().item()
    return norms
