"""A throwaway copy of the model that runs on the calibration batch, so that the model itself is left alone.

Half precision is widened to float32 here. Batch norms keep their running statistics, in training mode too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from torchweld.core import CheckFailed, InputError, relative_error
from torchweld.fusion.expansion.feeds import Seen, watch
from torchweld.fusion.export import FAILURES

if TYPE_CHECKING:
    from torchweld.fusion.expansion.make import Made

_HALF = (torch.float16, torch.bfloat16)
_NORM = nn.modules.batchnorm._BatchNorm
_DOUBLE_BOUND = 1e-10


class Twin:
    """The copy, the batch as its arguments, and what it returned for them in eval mode."""

    def __init__(self, model: nn.Module, calibrate: Tensor | Sequence[Any] | None) -> None:
        halves = any(p.dtype in _HALF for p in model.parameters())
        self.model = copy.deepcopy(model).eval()
        if halves:
            self.model.float()
        given = (calibrate,) if isinstance(calibrate, Tensor) else tuple(calibrate or ())
        self.args: tuple[Any, ...] = pytree.tree_map(_widened, given) if halves else given
        self.norms = {path: m for path, m in self.model.named_modules() if isinstance(m, _NORM)}
        for norm in self.norms.values():
            norm.momentum = 0.0
        self.output: Any = None

    def watch(self, paths: Iterable[str]) -> Mapping[str, Seen]:
        """Runs in eval mode and says what it saw of the convolutions at these paths."""
        run = self._tried(lambda: watch(self.model, self.args, {p: self.conv(p) for p in paths}))
        self.output = run.output
        return dict(run.seen)

    def show(self, paths: Iterable[str], hook: Callable[[str, Tensor, Tensor], None]) -> None:
        """Runs with batch norms in training mode, all else in eval mode; the hook gets each path's input and output."""

        def seen(path: str) -> Callable[..., None]:
            return lambda _, args, kwargs, y: hook(path, args[0] if args else kwargs["input"], y)

        handles = [self.conv(p).register_forward_hook(seen(p), with_kwargs=True) for p in paths]
        for norm in self.norms.values():
            norm.train()
        try:
            with torch.no_grad():
                self._tried(lambda: self.model(*self.args))
        finally:
            self.model.eval()
            for handle in handles:
                handle.remove()

    def conv(self, path: str) -> Any:
        return self.model.get_submodule(path)

    def check(self, made: Sequence[Made]) -> float | None:
        """Puts the blocks in place and returns the error; None without a batch. Raises `CheckFailed` over the bound."""
        if self.output is None:
            return None
        ran: set[str] = set()
        for m in made:
            m.put(self.model)
            m.block.eval().register_forward_hook(lambda *_, path=m.site.path: ran.add(path))
        try:
            with torch.no_grad():
                output = self.model(*self.args)
        except FAILURES as failure:
            raise CheckFailed(
                f"the expanded model does not run ({_line(failure)}); exclude the convolutions that it reads from"
            ) from failure
        for m in made:
            m.block._forward_hooks.clear()
            if m.site.path not in ran:
                raise CheckFailed(
                    f"{m.site.path} is called through a reference that is no submodule, so a block cannot take its "
                    f"place; exclude={m.site.path!r}"
                )
        pairs = zip(pytree.tree_leaves(output), pytree.tree_leaves(self.output), strict=True)
        floats = [(a, b) for a, b in pairs if isinstance(b, Tensor) and b.is_floating_point()]
        error = max((relative_error(a, b) for a, b in floats), default=0.0)
        bound = max((_bound(b.dtype) for _, b in floats), default=0.0)
        if error > bound:
            raise CheckFailed(f"the expanded model differs from the original by {error:.2g}, more than {bound:.2g}")
        return error

    def _tried(self, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except FAILURES as error:
            shapes = ", ".join(str(tuple(t.shape)) for t in pytree.tree_leaves(self.args) if isinstance(t, Tensor))
            raise InputError(f"the model does not run on the calibration batch {shapes}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _bound(dtype: torch.dtype) -> float:
    return _DOUBLE_BOUND if dtype == torch.float64 else float(torch.finfo(dtype).eps ** 0.5)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value
