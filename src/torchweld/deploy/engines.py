"""Ways to run a module: from the module and its inputs to a call without arguments, ready to be timed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from torchweld.core import Refusal

Call = Callable[[], object]


def eager(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """The module as it is."""

    def call() -> object:
        with torch.inference_mode():
            return module(*args, **kwargs)

    return call


def channels_last(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """A copy with images and their weights laid out channel by channel within a pixel: faster for most convolutions.

    Raises `Refusal` where there is no image among the inputs.
    """
    leaves = pytree.tree_leaves((args, dict(kwargs)))
    if not any(isinstance(leaf, Tensor) and leaf.ndim == 4 for leaf in leaves):
        raise Refusal("no input is a batch of images (4 dimensions)")

    def laid_out(value: Any) -> Any:
        is_image = isinstance(value, Tensor) and value.ndim == 4
        return value.contiguous(memory_format=torch.channels_last) if is_image else value

    moved_args, moved_kwargs = pytree.tree_map(laid_out, (args, dict(kwargs)))
    # torch's annotation of `to` does not know that modules take a memory format
    moved = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return eager(moved, moved_args, moved_kwargs)


ENGINES: dict[str, Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any]], Call]] = {
    "eager": eager,
    "channels_last": channels_last,
}
