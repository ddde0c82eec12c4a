"""The interpreter: a torch operator that meets a traced tensor is looked up in the table and handed to the tracer.

A traced tensor carries the level of the transformation it belongs to. The highest level among an operator's arguments
is interpreted first, with every other argument a constant to it, so nested derivatives never mix their perturbations
(Siskind & Pearlmutter 2005, "Perturbation confusion"). A traced tensor owns no storage: an operator that slipped past
the table would reach a kernel and is refused there by name.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from torchweld.autodiff.operators import CONSTANT, FRESH, IN_PLACE, LOSES, METADATA, OPERATORS
from torchweld.autodiff.rows import Row
from torchweld.core import InputError

new_level: Callable[[], int] = count(1).__next__


class Traced(Tensor):
    """A tensor that a transformation follows; `primal` is its value one level down."""

    primal: Tensor
    level: int
    aliased: bool  # shares memory with another traced tensor, so writing in place would miss that one

    @staticmethod
    def wrap(cls: type[Traced], primal: Tensor) -> Any:
        if not isinstance(primal, Tensor) or not primal.dtype.is_floating_point:
            kind = primal.dtype if isinstance(primal, Tensor) else type(primal).__name__
            raise InputError(
                f"only real floating-point tensors have derivatives here, not {kind}; convert with .double()"
            )
        with torch._C.DisableTorchFunctionSubclass():
            self = Tensor._make_wrapper_subclass(
                cls, primal.size(), strides=primal.stride(), dtype=primal.dtype, device=primal.device
            )
        self.primal, self.aliased = primal, False
        return self

    def follow(self, row: Row, args: tuple[Any, ...], at: list[int]) -> Any:
        """Apply `row`, whose arguments at the positions `at` are of this level."""
        raise NotImplementedError

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return interpret(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise InputError(
            f"operator {func} has no derivative rule in torchweld.autodiff, and reached its kernel untraced"
        )

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{type(self).__name__}(level {self.level}, {self.primal!r})"


def base(x: Any) -> Any:
    """The plain tensor under every level of tracing; anything else unchanged."""
    while isinstance(x, Traced):
        x = x.primal
    return x


def interpret(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a torch function gives when at least one argument is traced. Raises `InputError` where no rule is known."""
    handler = func if isinstance(func, Row) else _handler(func)
    if not isinstance(handler, Row):
        return handler(*args, **kwargs)
    bound = tuple(_settled(a) for a in handler.bind(args, kwargs))
    levels = [a.level for a in bound if isinstance(a, Traced)]
    if not levels:
        raise InputError(f"{handler.name}: a traced tensor where its rule expects a constant")
    level = max(levels)
    at = [i for i, a in enumerate(bound) if isinstance(a, Traced) and a.level == level]
    for i in at:
        if handler.rule(handler.reverse, i) is None:
            raise InputError(f"{handler.name}: no derivative rule for its argument {handler.params[i][0]!r}")
    top: Traced = bound[at[0]]
    result = top.follow(handler, bound, at)
    if handler.view and isinstance(result, Traced):
        top.aliased = result.aliased = True
    return result


def below(args: tuple[Any, ...], at: list[int]) -> tuple[Any, ...]:
    """The arguments with those at the positions `at` replaced by their value one level down."""
    return tuple(a.primal if i in at else a for i, a in enumerate(args))


def _settled(a: Any) -> Any:
    # a parameter that torch.autograd watches is a constant here; recording it twice would cost time and memory
    return a.detach() if isinstance(a, Tensor) and not isinstance(a, Traced) and a.requires_grad else a


def name_of(func: Any) -> str:
    """The name an operator is called under: `Tensor.shape`'s getter is `shape`, `aten::sin.default` is `sin`."""
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__"):
        return func.__self__.__name__ if name == "__get__" else f"{func.__self__.__name__} ="
    return name.partition(".")[0]


@cache
def _handler(func: Any) -> Any:
    name = name_of(func)
    if _has_a_body(func) and func.__module__ in ("torch.nn.functional", "torch.functional"):
        return _passed_through(func)
    if name in OPERATORS:
        return OPERATORS[name]
    if name in IN_PLACE:
        return _in_place(name, IN_PLACE[name])
    if name.endswith("_") and not name.startswith("__") and name[:-1] in OPERATORS:
        return _in_place(name, OPERATORS[name[:-1]])
    if name in METADATA:
        return _on_metadata(func)
    if name in CONSTANT:
        return lambda *args, **kwargs: func(*tree_map(base, args), **tree_map(base, kwargs))
    if name in FRESH:
        return lambda like, *args, **kwargs: func(base(like), *args, **kwargs)
    if name in LOSES:
        raise InputError(f"{name} would lose the derivative in silence; call .detach() first where a constant is meant")
    if _has_a_body(func) and func.__module__.startswith("torch."):
        return _passed_through(func)
    raise InputError(f"torch operator {name!r} has no derivative rule in torchweld.autodiff")


def _has_a_body(func: Any) -> bool:
    # torch's boolean_dispatch only forwards to functions that would offer the call here again
    return isinstance(func, types.FunctionType) and "if_true" not in func.__code__.co_freevars


def _on_metadata(func: Any) -> Callable[..., Any]:
    def answer(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    return answer


def _never(*_: Any) -> bool:
    return False


def _passed_through(func: types.FunctionType) -> types.FunctionType:
    """A torch function written in Python, run for its body: a copy that does not offer itself for override again."""
    guards = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    inner = {**func.__globals__, **dict.fromkeys(guards, _never)}
    copy = types.FunctionType(func.__code__, inner, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def _in_place(name: str, operator: Any) -> Callable[..., Any]:
    """An operator that writes into its first argument: the value is made anew and the traced tensor takes it over."""

    def write(target: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(target, Traced):
            raise InputError(
                f"{name} writes a traced value into a plain tensor, which cannot hold it; use its plain form"
            )
        if target.aliased:
            raise InputError(f"{name} on a tensor that shares memory with a view of it; use its plain form")
        made = (
            interpret(operator, (target, *args), kwargs)
            if isinstance(operator, Row)
            else operator(target, *args, **kwargs)
        )
        if not isinstance(made, Traced) or made.level != target.level or made.shape != target.shape:
            raise InputError(
                f"{name} would change the shape or the level of derivation of its target; use its plain form"
            )
        target.__dict__.update(made.__dict__)
        return target

    return write
