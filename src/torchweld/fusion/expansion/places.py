"""A module put in the place of another, wherever the other is registered."""

from __future__ import annotations

from torch import nn


def put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Registers `new` under every name that `old` has in the model."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
