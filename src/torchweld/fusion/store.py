"""The fused module's parameters: computed from their recipes one by one, and put at their paths."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Node

from torchweld.fusion.capture import Captured
from torchweld.fusion.names import Names
from torchweld.maps import Recipe, State


class Store:
    """The module tree under construction. `recipes` has, for each path, how its tensor was computed."""

    def __init__(self, captured: Captured, *, double: bool) -> None:
        self.captured, self.double = captured, double
        self.root = nn.Module()
        self.names = Names()
        self.recipes: dict[str, Recipe] = {}
        self.state: State = _OnCpu(captured.state)

    def numbers(self, recipe: Recipe, like: Node) -> Tensor:
        """The tensor of a recipe, in the dtype and on the device of `like`'s value."""
        tensor = recipe.evaluate(self.state)
        value = like.meta["val"]
        dtype = torch.float64 if self.double and tensor.is_floating_point() else value.dtype
        device = next((t.device for t in self.captured.state.values()), value.device)
        return tensor.to(device, dtype, copy=True).contiguous()

    def add(self, wanted: str, module: nn.Module, recipes: dict[str, Recipe]) -> str:
        """Places a module at a free path near `wanted`, and returns the path."""
        path = self.names.free(wanted)
        parent, name = self._parent(path)
        parent.add_module(name, module)
        self.recipes.update({f"{path}.{k}": r for k, r in recipes.items()})
        return path

    def keep(self, wanted: str, tensor: Tensor, recipe: Recipe, *, learned: bool) -> str:
        """Places a parameter, or a buffer that is not learned, and returns its path."""
        path = self.names.free(wanted)
        parent, name = self._parent(path)
        if learned and tensor.is_floating_point():
            parent.register_parameter(name, nn.Parameter(tensor))
        else:
            parent.register_buffer(name, tensor)
        self.recipes[path] = recipe
        return path

    def _parent(self, path: str) -> tuple[nn.Module, str]:
        *folders, name = path.split(".")
        parent = self.root
        for folder in folders:
            if folder not in parent._modules:
                parent.add_module(folder, nn.Module())
            parent = parent.get_submodule(folder)
        return parent, name


class _OnCpu(dict[str, Tensor]):
    """The captured state, read on the CPU: kernels are computed there in float64 on any machine."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.captured = state

    def __missing__(self, name: str) -> Tensor:
        return self.captured[name].detach().cpu()
