"""Tensors that are described now and computed later.

A recipe is a frozen expression tree over named parameters. Laws build recipes while they plan with shapes alone; the
arithmetic happens once, in float64, when a plan is emitted. The tree also is the provenance of the tensor: which
parameters went into it, and by which laws.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Recipe:
    """`compute(*inputs, *arguments)`; two recipes are equal when their trees are."""

    law: str
    compute: Callable[..., Tensor]
    inputs: tuple[Recipe, ...] = ()
    arguments: tuple[Hashable, ...] = ()
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.law, self.compute, self.inputs, self.arguments)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Recipe) or self._hash != other._hash:
            return False
        mine, theirs = (self.law, self.compute, self.arguments), (other.law, other.compute, other.arguments)
        return mine == theirs and self.inputs == other.inputs

    def evaluate(self, state: State) -> Tensor:
        """The tensor in float64 (integers stay as they are), with parameters looked up in `state`."""
        return self._evaluated(state, {})

    def _evaluated(self, state: State, known: dict[Recipe, Tensor]) -> Tensor:
        if self not in known:
            if self.compute is _look_up:
                known[self] = _in_double(state[str(self.arguments[0])])
            else:
                known[self] = self.compute(*(i._evaluated(state, known) for i in self.inputs), *self.arguments)
        return known[self]

    def walk(self) -> Iterator[Recipe]:
        """This recipe and all that it is made of, parents first, each once."""
        seen: set[Recipe] = set()
        waiting = [self]
        while waiting:
            recipe = waiting.pop()
            if recipe not in seen:
                seen.add(recipe)
                yield recipe
                waiting += reversed(recipe.inputs)

    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters it reads, each once, in the order of the tree."""
        return tuple(dict.fromkeys(str(r.arguments[0]) for r in self.walk() if r.compute is _look_up))


class _Held:
    """A tensor as an argument of a recipe: compared by identity."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def parameter(name: str) -> Recipe:
    """The parameter or buffer of that name.

    >>> parameter("conv.bias").evaluate({"conv.bias": torch.tensor([1.0])})
    tensor([1.], dtype=torch.float64)
    """
    return Recipe("parameter", _look_up, (), (name,))


def literal(value: Tensor | float) -> Recipe:
    """A tensor at hand, or a number."""
    return Recipe("literal", _held, (), (_Held(value) if isinstance(value, Tensor) else float(value),))


def _look_up(name: str) -> Tensor:
    raise AssertionError("a parameter is looked up in the state, by evaluate")


def _held(value: Any) -> Tensor:
    return _in_double(value.tensor) if isinstance(value, _Held) else torch.tensor(value, dtype=torch.float64)


def _in_double(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.double() if tensor.is_floating_point() else tensor
