"""Derivatives of functions of tensors: `jvp`, `vjp`, `grad`, `jacobian`, `hvp`, `hessian`, by our own two interpreters.

Arguments and results may be nested tuples, lists and dicts of tensors; signatures follow `torch.func`.
A `torch.no_grad()` inside the function makes constants, one outside is ignored, as in `torch.func`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from torchweld.autodiff.dual import Dual
from torchweld.autodiff.functions import inside_a_derivative, user_functions_followed
from torchweld.autodiff.tape import Tape, Var
from torchweld.autodiff.traced import new_level
from torchweld.core import InputError


def jvp(f: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """`f(*primals)` and its derivative along `tangents`, in one forward pass that keeps no graph.

    Raises `InputError` where structures or shapes of primals and tangents differ, or an operator has no rule.

    >>> y, dy = jvp(lambda x: x**2 + 2 * x, (torch.tensor(2.0),), (torch.tensor(1.0),))
    >>> y.item(), dy.item()
    (8.0, 6.0)
    """
    values, spec = tree_flatten(tuple(primals))
    directions, spec_t = tree_flatten(tuple(tangents))
    if spec != spec_t or any(v.shape != d.shape for v, d in zip(values, directions, strict=True)):
        raise InputError("jvp: primals and tangents must have the same structure and shapes")
    level = new_level()
    with torch.enable_grad(), user_functions_followed():
        out = f(*tree_unflatten([Dual(_bare(v), d, level) for v, d in zip(values, directions, strict=True)], spec))
    ours = [isinstance(o, Dual) and o.level == level for o in tree_flatten(out)[0]]
    flat, out_spec = tree_flatten(out)
    primal = [o.primal if mine else o for o, mine in zip(flat, ours, strict=True)]
    tangent = [o.tangent if mine else _zero(o) for o, mine in zip(flat, ours, strict=True)]
    return tree_unflatten(primal, out_spec), tree_unflatten(tangent, out_spec)


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """`f(*primals)` and a function from an adjoint of the result to the adjoints of the primals, one for each.

    >>> y, pullback = vjp(lambda a, b: (a * b).sum(), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]))
    >>> pullback(torch.tensor(1.0))
    (tensor([3., 5.]), tensor([1., 2.]))
    """
    values, spec = tree_flatten(tuple(primals))
    tape = Tape()
    with torch.enable_grad(), user_functions_followed():
        out = f(*tree_unflatten([tape.input(_bare(v)) for v in values], spec))
    flat, out_spec = tree_flatten(out)
    mine = [(i, o.index) for i, o in enumerate(flat) if isinstance(o, Var) and o.tape is tape]
    plain = [o.primal if isinstance(o, Var) and o.tape is tape else o for o in flat]
    inputs = set(range(len(values)))

    def pullback(adjoint: Any) -> tuple[Any, ...]:
        given = tree_flatten(adjoint)[0]
        if len(given) != len(plain) or any(g.shape != o.shape for g, o in zip(given, plain, strict=True)):
            raise InputError("vjp: the adjoint must have the structure and shapes of the result")
        seeds: dict[int, Tensor] = {}
        for i, index in mine:
            seeds[index] = seeds[index] + given[i] if index in seeds else given[i]
        adjoints = tape.pull(seeds, inputs)
        return tree_unflatten([adjoints[i] if i in adjoints else _zero(v) for i, v in enumerate(values)], spec)

    return tree_unflatten(plain, out_spec), pullback


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The gradient of a function with one number as its result, with respect to the arguments `argnums`.

    >>> grad(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
    tensor([ 3., 12.])
    """
    both = value_and_grad(f, argnums)
    return lambda *args: both(*args)[1]


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """Like `grad`, with the function's value before it."""
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def derivative(*args: Any) -> tuple[Tensor, Any]:
        value, pullback = vjp(_of(f, args, chosen), *(args[i] for i in chosen))
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"grad: the function must return one number, not {shape}; use jacobian or vjp")
        adjoints = pullback(torch.ones_like(value))
        return value, adjoints[0] if isinstance(argnums, int) else adjoints

    return derivative


def jacobian(f: Callable[..., Tensor], argnum: int = 0, *, mode: str = "auto") -> Callable[..., Tensor]:
    """All first derivatives of a tensor result by one tensor argument, of shape `(*result, *argument)`.

    `mode` is "forward" (one pass per input number), "reverse" (one per result number) or "auto", the cheaper.

    >>> jacobian(lambda x: torch.stack([x[0] * x[1], x[1] ** 2]))(torch.tensor([2.0, 3.0]))
    tensor([[3., 2.],
            [0., 6.]])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise InputError(f"jacobian: mode {mode!r}; use auto, forward or reverse")

    def derivative(*args: Any) -> Tensor:
        x, g = args[argnum], _of(f, args, (argnum,))
        forward = mode == "forward"
        if mode == "auto":
            with torch.no_grad():
                forward = g(x).numel() > x.numel()
        if forward:
            columns = _for_each(lambda t: jvp(g, (x,), (t,))[1], x)
            return columns.movedim(0, -1).reshape(*columns.shape[1:], *x.shape)
        y, pullback = vjp(g, x)
        return _for_each(lambda a: pullback(a)[0], y).reshape(*y.shape, *x.shape)

    return derivative


def hvp(f: Callable[..., Tensor], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """The gradient and the product of the Hessian with `tangents`, forward over reverse; both tuples, one per primal.

    >>> x = torch.tensor([1.0, 2.0])
    >>> _, (product,) = hvp(lambda x: (x**3).sum(), (x,), (torch.tensor([1.0, 0.0]),))
    >>> product
    tensor([6., 0.])
    """
    return jvp(grad(f, tuple(range(len(primals)))), primals, tangents)


def hessian(f: Callable[..., Tensor], argnum: int = 0) -> Callable[..., Tensor]:
    """All second derivatives by one argument, of shape `(*argument, *argument)`, forward over reverse.

    >>> hessian(lambda x: x[0] ** 2 * x[1])(torch.tensor([1.0, 3.0]))
    tensor([[6., 2.],
            [2., 0.]])
    """

    def derivative(*args: Any) -> Tensor:
        return jacobian(grad(_of(f, args, (argnum,))), mode="forward")(args[argnum])

    return derivative


def _of(f: Callable[..., Any], args: tuple[Any, ...], chosen: tuple[int, ...]) -> Callable[..., Any]:
    """`f` as a function of the `chosen` arguments alone."""

    def narrowed(*some: Any) -> Any:
        full = list(args)
        for i, value in zip(chosen, some, strict=True):
            full[i] = value
        return f(*full)

    return narrowed


def _bare(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.nn.Parameter) else value


def _for_each(f: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """`f` of every unit vector shaped as `like`, stacked: at once, or one by one inside another derivative."""
    basis = torch.eye(like.numel(), dtype=like.dtype, device=like.device).reshape(like.numel(), *like.shape)
    # torch's batching cannot unpack a tensor that an outer derivative of ours has wrapped
    return (
        torch.stack([f(unit) for unit in basis])
        if inside_a_derivative()
        else torch.func.vmap(f, randomness="same")(basis)
    )


def _zero(x: Any) -> Any:
    return tree_map(lambda v: torch.zeros_like(v) if isinstance(v, Tensor) else v, x)
