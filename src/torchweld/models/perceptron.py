"""Networks for tables: one linear layer, or a multilayer perceptron.

Shapes: B samples, F features, T targets.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from torchweld.core import InputError
from torchweld.models.images import check_counts

WIDTHS: dict[str, tuple[int, ...]] = {"linear": (), "mlp": (128, 128)}


def perceptron(name: str, targets: int, features: int) -> nn.Sequential:
    """`linear` or `mlp`: (B, F) -> (B, T), batch norm and ReLU between. Raises `InputError` for an unknown name.

    >>> import torch
    >>> perceptron("mlp", targets=1, features=5)(torch.randn(4, 5)).shape
    torch.Size([4, 1])
    """
    if name not in WIDTHS:
        raise InputError(f"there is no network {name!r} for tables; known are {', '.join(WIDTHS)}")
    check_counts(targets=targets, features=features)
    *hidden, last = pairwise((features, *WIDTHS[name], targets))
    layers: list[nn.Module] = []
    for wide_in, wide_out in hidden:
        layers += [nn.Linear(wide_in, wide_out, bias=False), nn.BatchNorm1d(wide_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*last))
