"""The certificate: the fused model against the original in float64, at several sizes and batches.

Three errors, each relative to the original run in float64: of the plan's float64 twin (the algebra: at most 1e-10), of
the fused model in the model's own dtype, and of the original in that dtype, to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from torchweld.core import CheckFailed, accuracy_bound, relative_error
from torchweld.fusion.capture import Captured
from torchweld.fusion.export import FAILURES
from torchweld.fusion.guards import Size, excludes_one_only
from torchweld.fusion.report import Certificate, Check
from torchweld.fusion.sizes import shape_of

TWIN_BOUND = 1e-10
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Trial:
    """Inputs of one check, and what the original gives for them in float64 and in its own dtype.

    `units`: sizes that are 1 here and that the exporter's conditions would exclude; this trial decides about them.
    `given`: an example of the user's.
    """

    inputs: Inputs
    shapes: str
    exact: list[Any]
    native_error: float
    units: tuple[Size, ...] = ()
    given: bool = False


def trials(
    model: nn.Module,
    reference: nn.Module,
    captured: Captured,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    more: Sequence[Inputs] = (),
) -> list[Trial]:
    """Runs the original as it is and its float64 `reference`, at the example's sizes and at others that it accepts.

    `more`: further examples of the user's, which must be accepted."""
    done: list[Trial] = []
    first, *others = _variants(captured, args, kwargs)
    for inputs, units in (first, *((m, ()) for m in more), *others):
        try:
            exact, native = outputs_of(reference, doubled(inputs)), outputs_of(model, inputs)
        except FAILURES:
            if len(done) <= len(more):
                raise  # an example itself
            continue  # a size that the original does not take
        shapes = ", ".join("x".join(map(str, t.shape)) for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor))
        done.append(Trial(inputs, shapes, exact, error_between(native, exact), units, len(done) <= len(more)))
    return done


def errors_of(twin: nn.Module, done: Sequence[Trial]) -> list[float | None]:
    """Errors of a module in float64; None where it says that it was not captured for the size."""
    errors: list[float | None] = []
    for t in done:
        try:
            errors.append(error_between(outputs_of(twin, doubled(t.inputs)), t.exact))
        except FAILURES:
            errors.append(None)
    return errors


def certify(fused: nn.Module, proof: Sequence[tuple[Trial, float]], dtype: torch.dtype) -> Certificate:
    """The certificate; raises `CheckFailed` where an error is out of its bound."""
    checks = tuple(
        Check(t.shapes, error, error_between(outputs_of(fused, t.inputs), t.exact), t.native_error)
        for t, error in proof
    )
    native = max(c.native_error for c in checks)
    certificate = Certificate(
        str(dtype).removeprefix("torch."),
        max(c.twin_error for c in checks),
        TWIN_BOUND,
        max(c.fused_error for c in checks),
        accuracy_bound(dtype, native),
        native,
        checks,
    )
    for what, error, bound in (
        ("in float64", certificate.twin_error, certificate.twin_bound),
        (f"in {certificate.dtype}", certificate.fused_error, certificate.fused_bound),
    ):
        if not error <= bound:
            raise CheckFailed(f"the fused model differs from the original {what} by {error:.2g} (bound {bound:.2g})")
    return certificate


def _variants(
    captured: Captured, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[Inputs, tuple[Size, ...]]]:
    """The example; an odd batch at smaller, odd, uneven sizes; another batch at others; and excluded sizes of 1."""
    flat, spec = pytree.tree_flatten((args, kwargs))
    shapes = {path: shape_of(node) or () for path, node in captured.inputs.items()}
    hints = captured.hints.values
    generator = torch.Generator().manual_seed(0)
    batch = {s[0] for s in shapes.values() if s}
    wanted: dict[tuple[int, ...], tuple[Size, ...]] = {tuple(hints.values()): ()}
    for number in (1, 2):
        sizes = [_other(v, number, at, s in batch) for at, (s, v) in enumerate(hints.items())]
        wanted.setdefault(tuple(sizes), ())
    for path, axis in filter(None, map(excludes_one_only, captured.conditions)):
        if (symbol := shapes[path][axis]) in hints:
            sizes = [1 if s == symbol else v for s, v in hints.items()]
            wanted[tuple(sizes)] = (*wanted.get(tuple(sizes), ()), (path, axis))
    made = []
    for chosen, units in wanted.items():
        values = dict(zip(hints, chosen, strict=True))
        tensors = iter(shapes.values())
        leaves = [_drawn(v, next(tensors), values, generator) if isinstance(v, Tensor) else v for v in flat]
        made.append((pytree.tree_unflatten(leaves, spec), units))
    return made


def _other(size: int, number: int, at: int, batch: bool) -> int:
    if number == 0:
        return size
    if batch:
        return size + (2 if number == 1 else 1)
    smaller = size // 2 if number == 1 else size // 3
    return max(smaller + at, 1) | 1 if number == 1 else max(smaller + 2 * at, 1)


def _drawn(
    example: Tensor, shape: tuple[Any, ...], values: Mapping[sympy.Symbol, int], generator: torch.Generator
) -> Tensor:
    """A tensor of other sizes with values like the example's; noise where the example is constant."""
    sizes = [
        d if isinstance(d, int) else int(d.xreplace({s: sympy.Integer(v) for s, v in values.items()})) for d in shape
    ]
    pool = example.detach().flatten().cpu()
    if example.is_floating_point() and (pool.numel() < 2 or bool((pool == pool[0]).all())):
        return torch.randn(sizes, generator=generator).to(example.device, example.dtype)
    if list(example.shape) == sizes:
        return example.detach().clone()
    picked = torch.randint(max(pool.numel(), 1), sizes, generator=generator)
    return pool[picked].to(example.device)


def doubled(inputs: Inputs) -> Inputs:
    """Floating-point tensors in float64."""

    def wide(value: Any) -> Any:
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    both: Inputs = pytree.tree_map(wide, inputs)
    return both


def outputs_of(model: Callable[..., Any], inputs: Inputs) -> list[Any]:
    """The leaves of what the model gives for a copy of the inputs."""
    args, kwargs = pytree.tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, inputs)
    with torch.no_grad():
        return list(pytree.tree_leaves(model(*args, **kwargs)))


def error_between(actual: list[Any], exact: list[Any]) -> float:
    """The largest relative error of an output; infinite where they differ in kind."""
    if len(actual) != len(exact):
        return float("inf")
    errors = [0.0]
    for a, b in zip(actual, exact, strict=True):
        if isinstance(b, Tensor):
            errors.append(relative_error(a, b))
        elif a != b:
            errors.append(float("inf"))
    return max(errors)
