"""A user's `torch.autograd.Function` as one primitive: its own `backward` (and `jvp`, if written) are the rules.

`Function.apply` offers no override, so while a transformation runs, `apply` on traced arguments is led here; on plain
arguments it is torch's own. Forward mode without a `jvp` follows the operators of `forward`, which makes `check` an
independent test of `backward`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import has_torch_function

from torchweld.autodiff.dual import Dual
from torchweld.autodiff.rows import Row
from torchweld.autodiff.traced import Traced, below, new_level
from torchweld.core import InputError

_open = [0]
_lock = Lock()
_NATIVE = Function.__dict__["apply"]


def _apply(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
    if not has_torch_function(args):
        return _NATIVE.__func__(cls, *args, **kwargs)
    if kwargs:
        raise InputError(f"{cls.__name__}.apply: give its arguments by position")
    level = max(a.level for a in args if isinstance(a, Traced))
    at = [i for i, a in enumerate(args) if isinstance(a, Traced) and a.level == level]
    return args[at[0]].follow(_row(cls, below(args, at)), args, at)


def _enter(step: int) -> None:
    with _lock:
        _open[0] += step
        Function.apply = classmethod(_apply) if _open[0] else _NATIVE  # type: ignore[assignment, method-assign]


@contextmanager
def user_functions_followed() -> Iterator[None]:
    """While open, a `Function.apply` that meets a traced argument becomes a primitive."""
    _enter(1)
    try:
        yield
    finally:
        _enter(-1)


def inside_a_derivative() -> bool:
    """Whether a transformation is running, in this process, around the caller."""
    return _open[0] > 0


class Context(SimpleNamespace):
    """What a user's `forward` and `backward` see as `ctx`."""

    saved_tensors: tuple[Tensor, ...] = ()
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Tensor) -> None:
        raise InputError("a Function that writes into its input in place has no rule; return a new tensor")

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        raise InputError("a Function with outputs that are not differentiable has no rule; return them apart")

    def set_materialize_grads(self, value: bool) -> None:
        """Adjoints are always tensors here."""


def _run_forward(cls: type[Function], args: tuple[Any, ...]) -> tuple[Any, Context]:
    context = Context(needs_input_grad=tuple(isinstance(a, Tensor) and a.is_floating_point() for a in args))
    if cls.setup_context is not Function.setup_context:
        out = cls.forward(*args)
        cls.setup_context(context, args, out)
    else:
        out = cls.forward(context, *args)
    if not isinstance(out, Tensor):
        raise InputError(f"{cls.__name__}: a Function with several outputs has no rule; split it")
    return out, context


def _row(cls: type[Function], primals: tuple[Any, ...]) -> Row:
    value, context = _run_forward(cls, primals)

    def backward(position: int) -> Any:
        def rule(g: Tensor, y: Tensor, *args: Any) -> Tensor:
            # the arguments differ from the recorded ones only when `check` looks around a point
            ctx = context if all(a is p for a, p in zip(args, primals, strict=True)) else _run_forward(cls, args)[1]
            parts = cls.backward(ctx, g)
            part = (parts if isinstance(parts, tuple) else (parts,))[position]
            return torch.zeros_like(args[position]) if part is None else part

        return rule

    def forward(position: int) -> Any:
        def rule(t: Tensor, y: Tensor, *args: Any) -> Tensor:
            if cls.jvp is not Function.jvp:
                given = [t if i == position else None for i in range(len(args))]
                return cls.jvp(_run_forward(cls, args)[1], *given)
            level = new_level()
            with user_functions_followed():
                out = _run_forward(cls, (*args[:position], Dual(args[position], t, level), *args[position + 1 :]))[0]
            return out.tangent if isinstance(out, Dual) and out.level == level else torch.zeros_like(y)

        return rule

    positions = range(len(primals))
    return Row(
        cls.__name__,
        lambda *args: value if all(a is p for a, p in zip(args, primals, strict=True)) else cls.apply(*args),
        {i: forward(i) for i in positions},
        {i: backward(i) for i in positions},
        params=tuple((f"argument {i}", None) for i in positions),
    )
