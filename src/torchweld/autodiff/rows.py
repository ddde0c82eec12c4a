"""A row of the table of primitives: one operator, its value, and how tangents and adjoints pass through it.

A rule is written in torch operations, on values that may themselves be traced, so every derivative can be
differentiated again. Letters: `t` tangent of an argument, `g` adjoint of the output, `y` the output.

Where a derivative can be infinite, `0 * inf` must stay 0: nothing moves along a zero tangent, and nothing flows back
into the branch that `where` did not take. `strong(t, d)` is that product.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from torchweld.core import InputError

Rule = Callable[..., Any]
REST = -1  # the key of a rule for every argument from `Row.variadic` on


@dataclass(frozen=True, eq=False)
class Row:
    """One primitive. `forward[i](t, y, *args)` and `reverse[i](g, y, *args)` are the parts of argument `i`.

    Both are linear in their first argument; broadcasting is undone by the interpreters, not by the rules.
    `joint(tangents, y, *args)` replaces the sum of forward parts where that is cheaper, `tangents` by position.
    `params` are the argument names with their defaults, so that calls by keyword bind.
    """

    name: str
    value: Callable[..., Any]
    forward: Mapping[int, Rule]
    reverse: Mapping[int, Rule]
    joint: Rule | None = None
    params: tuple[tuple[str, Any], ...] = ()
    variadic: int | None = None  # tensors from this position on are all differentiable
    view: bool = False  # the value may share memory with its first argument
    __name__: str = field(init=False, default="row")

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Positional arguments in the order of `params`, defaults filled in."""
        if self.variadic is not None or (not kwargs and len(args) == len(self.params)):
            return tuple(args)
        if kwargs.get("out") is not None:
            raise InputError(f"{self.name}: out= writes into a tensor that was not traced; use the returned value")
        rest = self.params[len(args) :]
        unknown = set(kwargs) - {name for name, _ in rest} - {"out"}
        if unknown or len(args) > len(self.params):
            given = ", ".join(sorted(unknown)) or f"{len(args)} positional"
            raise InputError(f"{self.name}: no rule for the arguments {given}; known: {[n for n, _ in self.params]}")
        filled = tuple(kwargs.get(name, default) for name, default in rest)
        if any(value is inspect.Parameter.empty for value in filled):
            raise InputError(f"{self.name}: an argument is missing; known: {[n for n, _ in self.params]}")
        return tuple(args) + filled

    def rule(self, rules: Mapping[int, Rule], position: int) -> Rule | None:
        """The rule for one argument position, or None where the argument is not differentiable."""
        if self.variadic is not None and position >= self.variadic and REST in rules:
            every = rules[REST]
            return lambda first, y, *args: every(first, y, position, *args)
        return rules.get(position)

    def __call__(self, *args: Any) -> Any:
        """Apply the primitive to plain or traced arguments, all positional."""
        if has_torch_function(args):
            return handle_torch_function(self, args, *args)
        return self.value(*args)


def parameters_of(value: Callable[..., Any]) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of a Python function's arguments; one `input` for a torch builtin, which has none to show."""
    if not inspect.isfunction(value):
        return (("input", inspect.Parameter.empty),)
    return tuple((p.name, p.default) for p in inspect.signature(value).parameters.values())


def row(
    name: str, value: Callable[..., Any], forward: Mapping[int, Rule], reverse: Mapping[int, Rule], **more: Any
) -> Row:
    """A row with both rules written out."""
    return Row(name, value, forward, reverse, params=more.pop("params", None) or parameters_of(value), **more)


def unary(name: str, value: Callable[..., Any], slope: Rule, *, singular: bool = False) -> Row:
    """An elementwise function of its first argument with derivative `slope(x, y, *parameters)`.

    `singular` marks a slope that can be infinite, where a zero tangent must stay zero.
    """
    if singular:
        return row(name, value, *[{0: lambda t, y, x, *p: strong(t, slope(x, y, *p))}] * 2)
    return row(name, value, *[{0: lambda t, y, x, *p: t * slope(x, y, *p)}] * 2)


def binary(name: str, value: Callable[..., Any], first: Rule, second: Rule, *, singular: bool = False) -> Row:
    """An elementwise function of two broadcast arguments with partial derivatives `first`, `second` of `(a, b, y)`."""
    times = strong if singular else operator.mul
    rules = {
        0: lambda t, y, a, b, *p: times(t, first(a, b, y, *p)),
        1: lambda t, y, a, b, *p: times(t, second(a, b, y, *p)),
    }
    return row(name, value, rules, rules)


def linear(name: str, value: Callable[..., Any], adjoint: Rule, *, view: bool = False) -> Row:
    """A function linear in its first argument: the tangent goes through it, `adjoint(g, x, *parameters)` comes back."""
    return row(
        name, value, {0: lambda t, y, x, *p: value(t, *p)}, {0: lambda g, y, x, *p: adjoint(g, x, *p)}, view=view
    )


def flat(name: str, value: Callable[..., Any]) -> Row:
    """A piecewise constant function: its derivative is zero, known, and not an omission."""
    zero = {0: lambda t, y, x, *p: torch.zeros_like(t)}
    return row(name, value, zero, zero)


def _strong(t: Tensor, d: Any) -> Tensor:
    return torch.where(t == 0, torch.zeros((), dtype=t.dtype, device=t.device), t * d)


STRONG = row(
    "strong_product",  # d strong(t, d) = strong(dt, d) + strong(t, dd)
    _strong,
    {0: lambda dt, y, t, d: strong(dt, d), 1: lambda dd, y, t, d: strong(t, dd)},
    {0: lambda g, y, t, d: strong(g, d), 1: lambda g, y, t, d: strong(t, g)},
)


def strong(t: Any, d: Any) -> Any:
    """`t * d` where a zero `t` gives zero, whatever `d` is.

    >>> strong(torch.tensor([0.0, 2.0]), torch.tensor([float("inf"), 3.0]))
    tensor([0., 6.])
    """
    return STRONG(t, d)


def shape_of(x: Any) -> torch.Size:
    """The shape of a tensor, plain or traced, read without dispatch; a number's is empty."""
    if not isinstance(x, Tensor):
        return torch.Size()
    with torch._C.DisableTorchFunctionSubclass():
        return x.shape


def unbroadcast(g: Tensor, shape: torch.Size) -> Tensor:
    """The adjoint of broadcasting: sums over the axes that `shape` was expanded along.

    >>> unbroadcast(torch.ones(4, 2, 3), torch.Size([2, 1]))
    tensor([[12.],
            [12.]])
    """
    have = shape_of(g)
    if have == shape:
        return g
    extra = len(have) - len(shape)
    if extra < 0:
        return g.expand(shape)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 and have[extra + i] != 1)
    if axes:
        g = g.sum(axes, keepdim=True)
    if shape_of(g) != shape:
        g = g.reshape(shape)
    return g.expand(shape) if shape_of(g) != shape else g
