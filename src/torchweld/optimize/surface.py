"""The error surface: the loss around a point in parameter space, on the plane of two directions (R20).

Source: Li et al. 2018, "Visualizing the loss landscape of neural nets": random directions, each filter scaled to the
norm of the filter it moves, so that the picture does not depend on how weights are scaled between layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from torchweld.core import InputError

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Surface:
    """Losses (k, k) at `centre + first * u + second * v`, with u, v over `offsets` (k,); rows are u."""

    offsets: Tensor
    losses: Tensor


def error_surface(
    loss: Callable[[Parameters], Tensor],
    centre: Parameters,
    directions: tuple[Parameters, Parameters] | None = None,
    *,
    span: float = 1.0,
    points: int = 25,
    seed: int = 0,
) -> Surface:
    """The loss on a plane through `centre`, as a function of named parameters.

    For a network: `loss = lambda p: criterion(torch.func.functional_call(net, p, x), y)` and
    `centre = dict(net.named_parameters())`.
    `directions` are random and scaled filter by filter if not given; the offsets run from -`span` to `span`.
    Raises `InputError` for fewer than two points or no parameters.

    >>> s = error_surface(lambda p: (p["w"] ** 2).sum(), {"w": torch.ones(3)}, points=5)
    >>> s.losses.shape, s.losses[2, 2].item()
    (torch.Size([5, 5]), 3.0)
    """
    if points < 2 or not centre:
        raise InputError("an error surface needs at least two points a side and one parameter")
    at = {name: p.detach() for name, p in centre.items()}
    first, second = directions or (scaled_direction(at, seed), scaled_direction(at, seed + 1))
    offsets = torch.linspace(-span, span, points, dtype=torch.float64)
    losses = torch.empty(points, points, dtype=torch.float64)
    with torch.no_grad():
        for i, u in enumerate(offsets.tolist()):
            for j, v in enumerate(offsets.tolist()):
                losses[i, j] = loss({name: p + u * first[name] + v * second[name] for name, p in at.items()})
    return Surface(offsets, losses)


def scaled_direction(centre: Parameters, seed: int) -> dict[str, Tensor]:
    """A random direction with each filter (first axis) as long as the filter it moves; biases and norms stay put."""
    generator = torch.Generator().manual_seed(seed)
    direction = {}
    for name, p in centre.items():
        d = torch.randn(p.shape, dtype=torch.float64, generator=generator).to(p)
        if p.dim() <= 1:
            direction[name] = torch.zeros_like(p) if len(centre) > 1 else d
            continue
        rows = d.flatten(1)
        lengths = p.flatten(1).norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
        direction[name] = (rows * lengths).reshape(p.shape)
    return direction
