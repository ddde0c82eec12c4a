"""`check`: reverse mode against forward mode against central differences, whole and primitive by primitive."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from torchweld.autodiff.derivatives import jvp, vjp
from torchweld.autodiff.dual import push
from torchweld.autodiff.functions import user_functions_followed
from torchweld.autodiff.tape import Node, Tape, pull_one
from torchweld.autodiff.tracing import difference_step
from torchweld.core import CheckFailed, InputError

MODES_AGREE = 1e-9  # both are exact: only rounding separates them
DIFFERENCES_AGREE = 1e-5  # a central difference in float64 is good to about 1e-10 of the scale, less where curved


@dataclass(frozen=True)
class Compared:
    """Relative disagreements of one primitive (or of the whole): reverse and differences, each against forward."""

    name: str
    reverse: float
    differences: float


@dataclass(frozen=True)
class CheckReport:
    """What `check` compared: the whole function, and each recorded primitive in the order it ran."""

    whole: Compared
    primitives: tuple[Compared, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        return asdict(self)


def check(f: Callable[..., Any], *at: Any, seed: int = 0) -> CheckReport:
    """Compare the derivatives of `f` at `at`, in float64, along random directions drawn from `seed`.

    A module is checked by its inputs and all its parameters; a user's `torch.autograd.Function` inside `f` is one
    primitive, by its own `backward`. Directions are drawn afresh for each primitive. Raises `CheckFailed` that
    names the first primitive that disagrees. A point on a kink (relu at 0) is no fair test: differences see both sides.

    >>> report = check(lambda x: torch.sin(x) * x, torch.tensor([0.5, 2.0]))
    >>> [p.name for p in report.primitives]
    ['sin', 'mul']
    """
    generator = torch.Generator().manual_seed(seed)
    function, point = _as_float64(f, at)

    def run(*args: Any) -> Any:
        with torch.random.fork_rng(devices=[]):  # dropout must draw the same mask at every evaluation
            torch.manual_seed(seed)
            return function(*args)

    primitives = []
    for number, node in enumerate(_recorded(run, point)):
        if node.row is None:
            continue
        found = _compared_node(node, generator)
        primitives.append(found)
        _raise_if_apart(found, f"primitive {len(primitives)} ({found.name}, step {number})")
    whole = _compared_whole(run, point, generator)
    _raise_if_apart(whole, "the whole function, though every primitive agrees by itself,")
    return CheckReport(whole, tuple(primitives))


def _as_float64(f: Callable[..., Any], at: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    point = tree_map(lambda v: v.detach().double() if isinstance(v, Tensor) and v.is_floating_point() else v, at)
    if not isinstance(f, nn.Module):
        return f, point
    module = copy.deepcopy(f).double()
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    return lambda weights, *args: torch.func.functional_call(module, weights, args), (parameters, *point)


def _floats(tree: Any) -> list[Tensor]:
    return [v for v in tree_leaves(tree) if isinstance(v, Tensor) and v.is_floating_point()]


def _recorded(f: Callable[..., Any], point: tuple[Any, ...]) -> list[Node]:
    tape = Tape()
    given = tree_map(lambda v: tape.input(v) if isinstance(v, Tensor) and v.is_floating_point() else v, point)
    if not tape.nodes:
        raise InputError("check needs at least one real floating-point tensor to differentiate by")
    with torch.enable_grad(), user_functions_followed():
        f(*given)
    return tape.nodes


def _draw(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, generator=generator)


def _gap(a: Tensor, b: Tensor, scale: Tensor) -> float:
    size = scale.abs().max().item() if scale.numel() else 0.0
    apart = (a - b).abs().max().item() if a.numel() else 0.0
    return apart / max(size, 1e-6) if apart == apart else float("inf")


def _compared_node(node: Node, generator: torch.Generator) -> Compared:
    row = node.row
    assert row is not None
    worst = Compared(row.name, 0.0, 0.0)
    for position, _ in node.parents:
        x = node.args[position]
        t, g = _draw(x, generator), _draw(node.value, generator)
        tangent = push(row, {position: t}, node.value, node.args)
        pulled = pull_one(node, position, g)
        h = difference_step(x, t)
        ends = [row.value(*node.args[:position], x + s * h * t, *node.args[position + 1 :]) for s in (1, -1)]
        difference = (ends[0] - ends[1]) / (2 * h)
        products = (g * tangent).sum(), (pulled * t).sum()
        scale = torch.stack([(g * tangent).abs().sum(), (pulled * t).abs().sum()])
        worst = Compared(
            row.name,
            max(worst.reverse, _gap(*products, scale)),
            max(worst.differences, _gap(tangent, difference, torch.cat([tangent.flatten(), difference.flatten()]))),
        )
    return worst


def _compared_whole(f: Callable[..., Any], point: tuple[Any, ...], generator: torch.Generator) -> Compared:
    leaves = _floats(point)

    def of_floats(*values: Tensor) -> list[Tensor]:
        supply = iter(values)
        args = tree_map(lambda v: next(supply) if isinstance(v, Tensor) and v.is_floating_point() else v, point)
        return _floats(f(*args))

    directions = tuple(_draw(x, generator) for x in leaves)
    out, tangents = jvp(of_floats, tuple(leaves), directions)
    adjoints = [_draw(o, generator) for o in out]
    pulled = vjp(of_floats, *leaves)[1](adjoints)
    h = min(difference_step(x, t) for x, t in zip(leaves, directions, strict=True) if x.numel())
    with torch.no_grad():
        ahead, behind = (of_floats(*(x + s * h * t for x, t in zip(leaves, directions, strict=True))) for s in (1, -1))
    forward = _joined(g * t for g, t in zip(adjoints, tangents, strict=True))
    reverse = _joined(p * t for p, t in zip(pulled, directions, strict=True))
    scale = torch.stack([forward.abs().sum(), reverse.abs().sum()])
    difference = _joined((a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True))
    tangent = _joined(tangents)
    return Compared(
        "whole", _gap(forward.sum(), reverse.sum(), scale), _gap(tangent, difference, torch.cat([tangent, difference]))
    )


def _joined(parts: Any) -> Tensor:
    return torch.cat([p.flatten() for p in parts])


def _raise_if_apart(found: Compared, what: str) -> None:
    if found.reverse > MODES_AGREE:
        raise CheckFailed(
            f"{what} disagrees: reverse is {found.reverse:.1e} from forward mode (differences: {found.differences:.1e})"
        )
    if found.differences > DIFFERENCES_AGREE:
        raise CheckFailed(f"{what} disagrees: both modes are {found.differences:.1e} from central differences")
