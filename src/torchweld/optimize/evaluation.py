"""What a method asks of an objective and what it is told; many points are evaluated in one batched call.

A method is a generator: it yields `Ask` and receives `Seen`, and yields `Accept` for each new iterate. So each method
is written for one start, and a batch of starts runs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld import autodiff
from torchweld.core import InputError


@dataclass(frozen=True, eq=False)
class Ask:
    """A point (n,) and what is wanted there: letters of f (value), g (gradient), h (Hessian), v (H times `along`).

    `rows` picks a mini-batch of the data, None all of it.
    """

    x: Tensor
    what: str = "fg"
    along: Tensor | None = None
    rows: Tensor | None = None


_NOTHING = torch.empty(0)


@dataclass(frozen=True, eq=False)
class Seen:
    """The answer to an `Ask`: only what was asked for is set."""

    x: Tensor
    value: float = float("nan")
    gradient: Tensor = _NOTHING
    hessian: Tensor = _NOTHING
    product: Tensor = _NOTHING


@dataclass(frozen=True, eq=False)
class Accept:
    """A new iterate; it carries value and gradient of the whole objective."""

    seen: Seen


Method = Generator[Any, Any, str]


class Objective:
    """Values and derivatives of `f(x, *data)` in batches. `derivatives` is "func" (torch.func) or "autodiff" (ours)."""

    def __init__(self, f: Callable[..., Tensor], data: tuple[Tensor, ...] = (), derivatives: str = "func") -> None:
        if derivatives not in ("func", "autodiff"):
            raise InputError(f"derivatives {derivatives!r}; choose func (torch.func) or autodiff (torchweld's own)")
        self.data = data
        ours = derivatives == "autodiff"
        f = _one_number(f)
        self._both = autodiff.value_and_grad(f) if ours else _value_first(torch.func.grad_and_value(f))
        self._grad = autodiff.grad(f) if ours else torch.func.grad(f)
        self._hessian = autodiff.hessian(f) if ours else torch.func.hessian(f)
        self._jvp = autodiff.jvp if ours else torch.func.jvp
        self._f = f

    def answer(self, asks: Sequence[Ask]) -> list[Seen]:
        """One `Seen` for each `Ask`, those of a kind in one batched call."""
        answers: list[Seen | None] = [None] * len(asks)
        kinds: dict[tuple, list[int]] = {}
        for i, ask in enumerate(asks):
            kinds.setdefault((ask.what, None if ask.rows is None else id(ask.rows)), []).append(i)
        for (what, _), group in kinds.items():
            for i, seen in zip(group, self._evaluate(what, [asks[i] for i in group]), strict=True):
                answers[i] = seen
        return [a for a in answers if a is not None]

    def _evaluate(self, what: str, asks: list[Ask]) -> list[Seen]:
        rows = asks[0].rows
        data = self.data if rows is None else tuple(d[rows] for d in self.data)
        x = torch.stack([a.x for a in asks])
        count, n = x.shape
        values = gradients = hessians = products = None
        if "f" in what and "g" in what:
            values, gradients = self._each(lambda x: self._both(x, *data))(x)
        elif "f" in what:
            values = self._each(lambda x: self._f(x, *data))(x)
        elif "g" in what:
            gradients = self._each(lambda x: self._grad(x, *data))(x)
        if "h" in what:
            hessians = self._each(lambda x: self._hessian(x, *data))(x)
        if "v" in what:
            along = torch.stack([a.along for a in asks if a.along is not None])
            products = self._each(lambda x, v: self._jvp(lambda x: self._grad(x, *data), (x,), (v,))[1])(x, along)
        numbers = [float("nan")] * count if values is None else values.tolist()
        return [
            Seen(
                x[i],
                numbers[i],
                _NOTHING if gradients is None else gradients[i].detach(),
                _NOTHING if hessians is None else hessians[i].detach().reshape(n, n),
                _NOTHING if products is None else products[i].detach(),
            )
            for i in range(count)
        ]

    def _each(self, g: Callable[..., Any]) -> Callable[..., Any]:
        """`g` over the leading axis: batched, or called once where there is one point."""

        def every(*batch: Tensor) -> Any:
            if len(batch[0]) > 1:
                return torch.func.vmap(g)(*batch)
            out = g(*(b[0] for b in batch))
            return tuple(o[None] for o in out) if isinstance(out, tuple) else out[None]

        return every


def _one_number(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def checked(*args: Tensor) -> Tensor:
        out = f(*args)
        if not isinstance(out, Tensor) or out.dim():
            kind = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise InputError(f"the objective must return one number, a tensor without axes, not {kind}")
        return out

    return checked


def _value_first(g: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    def swapped(*args: Tensor) -> tuple[Tensor, Tensor]:
        gradient, value = g(*args)
        return value, gradient

    return swapped
