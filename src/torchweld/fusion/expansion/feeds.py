"""What feeds what, seen while the model runs: which batch norm alone reads which convolution's output.

Names of attributes say nothing about the order of calls, so one forward pass is watched: every function that is handed
a convolution's output or weight is noted, with the module that called it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchweld.fusion.expansion.window import Convolution

_FROM = "_torchweld_from"
_METADATA_NAMES = ("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad", "layout", "is_sparse")
_METADATA = {getattr(Tensor, name).__get__ for name in _METADATA_NAMES}
_METADATA |= {Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_contiguous, Tensor.stride, Tensor.is_floating_point}


@dataclass(frozen=True)
class Seen:
    """One convolution in one forward pass. `norm`: the batch norm that alone reads its output."""

    calls: int
    norm: str | None
    weight_read_elsewhere: bool
    batched: bool
    multiplications: int


@dataclass(frozen=True)
class Run:
    """What a forward pass returned, and what it showed of each convolution."""

    output: Any
    seen: Mapping[str, Seen]


def watch(model: nn.Module, args: tuple[Any, ...], convs: Mapping[str, Convolution]) -> Run:
    """Runs the model once, without gradients, and notes what reads each convolution's output."""
    norms = {path: m for path, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    notes = _Notes({id(conv.weight): path for path, conv in convs.items()})
    with torch.no_grad(), notes.of({**convs, **norms}, frozenset(convs)), notes:
        output = model(*args)
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, Tensor) and hasattr(leaf, _FROM):
            notes.readers.setdefault(getattr(leaf, _FROM), []).append(None)
    return Run(output, {path: notes.seen(path, norms) for path in convs})


class _Notes(TorchFunctionMode):
    def __init__(self, weights: Mapping[int, str]) -> None:
        super().__init__()
        self.weights = weights
        self.stack: list[str] = []
        self.calls: Counter[str] = Counter()
        self.readers: dict[str, list[str | None]] = {}  # by convolution: the norm that read its output, or None
        self.elsewhere: set[str] = set()
        self.unbatched: set[str] = set()
        self.work: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        inside = self.stack[-1] if self.stack else None
        for value in pytree.tree_leaves((args, kwargs)):
            if not isinstance(value, Tensor):
                continue
            if func not in _METADATA and (source := getattr(value, _FROM, None)) is not None:
                self.readers.setdefault(source, []).append(inside if func is F.batch_norm else None)
            owner = self.weights.get(id(value))
            if owner is not None and owner != inside:
                self.elsewhere.add(owner)
        return func(*args, **(kwargs or {}))

    @contextmanager
    def of(self, modules: Mapping[str, nn.Module], convs: frozenset[str]) -> Iterator[None]:
        handles: list[Any] = []
        for path, module in modules.items():
            enter, leave = self._hooks(path, path in convs)
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hooks(self, path: str, is_conv: bool) -> tuple[Callable[..., None], Callable[..., None]]:
        def enter(module: nn.Module, args: Any) -> None:
            self.calls[path] += 1
            self.stack.append(path)

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if is_conv:
                setattr(output, _FROM, path)
                weight: Any = module.weight
                if output.ndim != weight.ndim:
                    self.unbatched.add(path)
                self.work[path] += output.numel() * weight.numel() // weight.shape[0]
            self.stack.pop()

        return enter, leave

    def seen(self, path: str, norms: Mapping[str, nn.Module]) -> Seen:
        readers = self.readers.get(path, [])
        norm = readers[0] if len(readers) == 1 and self.calls[path] == 1 else None
        if norm is not None and (self.calls[norm] != 1 or norm not in norms):
            norm = None
        return Seen(self.calls[path], norm, path in self.elsewhere, path not in self.unbatched, self.work[path])
