"""The module that stands for a convolution (and the batch norm behind it) while the network trains."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchweld.fusion.expansion.stages import map_of_stage, zeros_on
from torchweld.fusion.expansion.window import BatchNorm, Convolution
from torchweld.maps import ConvMap, Geometry, add, compose, identity

MAIN = "main"


class Absorbed(nn.Module):
    """The place of a batch norm that a block's branches took in: passes its input on, and remembers the norm's form."""

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        self.form = Form(norm)

    def forward(self, input: Tensor) -> Tensor:
        return input


class Form:
    """A module's class and options without its numbers; no submodule, so it is in no state_dict."""

    def __init__(self, module: nn.Module) -> None:
        kept = {**module._parameters, **module._buffers}
        self.trainable = {name: t.requires_grad for name, t in module._parameters.items() if t is not None}
        without_numbers = {id(t): torch.empty(0, device="meta") for t in kept.values() if t is not None}
        self.module = copy.deepcopy(module, dict(without_numbers))
        for held in (self.module._parameters, self.module._buffers):
            held.update(dict.fromkeys(held))

    def has(self, name: str) -> bool:
        """Whether the module has a parameter of that name."""
        return name in self.trainable

    def filled(self, tensors: Mapping[str, Tensor], like: Tensor, mode: nn.Module) -> nn.Module:
        """The module anew with these tensors, in the dtype and on the device of `like`, training if `mode` is."""
        module = copy.deepcopy(self.module)
        for name, tensor in tensors.items():
            value = tensor.detach().to(like.device, like.dtype if tensor.is_floating_point() else None, copy=True)
            if name in module._buffers:
                module._buffers[name] = value
            else:
                module.register_parameter(name, nn.Parameter(value, self.trainable.get(name, True)))
        return module.train(mode.training)


class Block(nn.Module):
    """Parallel branches, summed. `branches["main"]` has the original kernel's shape, the others stand beside it.

    In eval mode this is one convolution. `form` is the original's; `slot` is the place of the norm that the branches
    took in, or the norm that was kept behind the block, or None where there is none: what `collapse` goes by.
    """

    def __init__(self, conv: Convolution, window: Geometry, branches: Mapping[str, Mapping[str, nn.Module]]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({name: _chain(stages) for name, stages in branches.items()})
        self.window = window
        self.form = Form(conv)
        self._slot: tuple[nn.Module, ...] = ()  # in a tuple, so that it is no submodule of the block
        for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
            setattr(self, name, getattr(conv, name))

    def hold(self, slot: nn.Module) -> None:
        """Remembers the norm behind the block, or its place."""
        self._slot = (slot,)

    @property
    def normed(self) -> bool:
        """Whether the branches end in norms, so that the sum has a bias."""
        return "norm" in dict(self.branches[MAIN].named_children())

    @property
    def slot(self) -> nn.Module | None:
        return self._slot[0] if self._slot else None

    def forward(self, input: Tensor) -> Tensor:  # (B, I, *sizes) -> (B, O, *output sizes); named as a convolution's
        first, *rest = self.branches.values()
        total: Tensor = first(input)
        for branch in rest:
            total = total + branch(input)
        return total


def _chain(stages: Mapping[str, nn.Module]) -> nn.Sequential:
    chain = nn.Sequential()
    for name, stage in stages.items():
        chain.add_module(name, stage)
    return chain


def map_of_branch(block: Block, name: str, stop: str | None = None) -> ConvMap:
    """A branch in eval mode as one map, on the window's own grid of taps; `stop` leaves out that stage and the rest."""
    branch = block.branches[name]
    assert isinstance(branch, nn.Sequential)
    result = identity(block.window.in_channels)
    for stage_name, stage in branch.named_children():
        if stage_name == stop:
            break
        result = compose(map_of_stage(stage, f"branches.{name}.{stage_name}."), result)
    grid = zeros_on(block.window)
    return result if result.geometry == grid.geometry else add(grid, result)


def numbers(block: Block, map_: ConvMap) -> tuple[Tensor, Tensor]:  # (O, I/g, *k), (O,)
    """Kernel and bias of a map of the block, in float64 on the CPU."""
    state: dict[str, Any] = {**dict(block.named_parameters()), **dict(block.named_buffers())}
    state = {name: t.detach().cpu() for name, t in state.items()}
    bias = map_.bias_in(state)
    kernel = map_.weight_in(state).reshape(block.window.weight_shape)
    return kernel, torch.zeros(block.window.out_channels, dtype=torch.float64) if bias is None else bias


def summed(block: Block, names: Iterable[str]) -> tuple[Tensor, Tensor]:  # (O, I/g, *k), (O,)
    """Kernel and bias of the branches' sum in eval mode; since all lie on one grid, they are evaluated in turn."""
    kernel = torch.zeros(block.window.weight_shape, dtype=torch.float64)
    bias = torch.zeros(block.window.out_channels, dtype=torch.float64)
    for name in names:
        more, shift = numbers(block, map_of_branch(block, name))
        kernel += more
        bias += shift
    return kernel, bias


def put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Registers `new` under every name that `old` has in the model."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
