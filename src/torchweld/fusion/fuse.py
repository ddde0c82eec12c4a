"""`fuse`: capture, analyse, plan, emit, verify."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import nn

from torchweld.core import CheckFailed, InputError
from torchweld.fusion.buffers import buffers_kept
from torchweld.fusion.capture import Captured, capture, check_eval
from torchweld.fusion.counts import counts_after, counts_before
from torchweld.fusion.declined import declined
from torchweld.fusion.export import FAILURES
from torchweld.fusion.fused import Fused, fingerprints_of
from torchweld.fusion.guards import excludes_one_only
from torchweld.fusion.partial import fuse_parts
from torchweld.fusion.partly import PartlyFused
from torchweld.fusion.planning import Planned, by_the_clock, dtype_of, planned_for
from torchweld.fusion.ranges import weight_ranges
from torchweld.fusion.report import Report
from torchweld.fusion.rewrites import rewrite
from torchweld.fusion.verify import TWIN_BOUND, Inputs, Trial, certify, errors_of, trials


@overload
def fuse(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    measure: bool = False,
) -> Fused: ...


@overload
def fuse(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    measure: bool = False,
    partial: bool,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
) -> Fused | PartlyFused: ...


def fuse(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    measure: bool = False,
    partial: bool = False,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
) -> Fused | PartlyFused:
    """The same function with as few and as cheap operations as the algebra allows, and the proof.

    `example_inputs`: a tensor, a tuple of the model's positional arguments, or a list of such tuples, all of which the
    proof then covers. The sizes of the first are what the plan is made for, but every size that the model accepts stays
    allowed where the model allows it. The model is not modified.
    `measure`: times maps and whole plans on this machine instead of estimating them; where none is faster than the
    model, its graph stays as it was written. The report's notes say what was found.
    `partial`: where the model cannot be captured as a whole, welds its largest submodules that can; `include` and
    `exclude` are name patterns (`backbone*`) of modules that may be welded and of modules that must stay as they are.

    Raises `InputError` if the model is in training mode, does not run on the inputs or cannot be captured, and
    `CheckFailed` if the result is not the same function to within rounding.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)).eval()
    >>> fused = fuse(model, torch.randn(1, 3, 16, 16))
    >>> fused.report.before.operators, fused.report.after.operators
    (2, 1)
    """
    (args, kwargs), *more = examples = _examples(example_inputs, example_kwargs)
    restricted = "*" not in include or bool(exclude)
    if restricted and not partial:
        raise InputError("include and exclude choose among submodules: they go with partial=True")
    why = "its parts are chosen by name"
    with buffers_kept(model):
        check_eval(model)
        try:
            if not restricted:
                return _as_one(model, args, kwargs, more, measure=measure)
        except (InputError, CheckFailed) as error:
            if not partial:
                raise
            why = str(error)

        def weld(part: nn.Module, calls: Sequence[Inputs]) -> Fused:
            (args, kwargs), *more = calls
            return _as_one(part, args, kwargs, more, measure=measure)

        return fuse_parts(model, examples, weld, include, exclude, why)


def _examples(inputs: Any, kwargs: Mapping[str, Any] | None) -> list[Inputs]:
    """The sets of inputs: a tensor, a tuple of arguments, or a list of such tuples."""
    several = isinstance(inputs, list) and inputs and all(isinstance(i, tuple) for i in inputs)
    given = inputs if several else [tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)]
    return [(args, dict(kwargs or {})) for args in given]


def _as_one(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], more: Sequence[Inputs], *, measure: bool
) -> Fused:
    try:
        return _fuse(model, args, kwargs, more, batch_of_two=True, measure=measure)
    except _DependsOnBatch:
        return _fuse(model, args, kwargs, more, batch_of_two=False, measure=measure)


class _DependsOnBatch(Exception):
    """The model computes something else for the example's batch of one than for the batch of two it was captured at."""


def _fuse(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    more: Sequence[Inputs],
    *,
    batch_of_two: bool,
    measure: bool,
) -> Fused:
    seconds: dict[str, float] = {}
    with _timed(seconds, "capture"):
        captured = capture(model, args, kwargs, batch_of_two=batch_of_two)
    with _timed(seconds, "plan"):
        rewritten = rewrite(captured)
        planned = planned_for(rewritten.captured)
    notes = list(captured.notes)
    if measure:
        with _timed(seconds, "measure"):
            rewritten, planned, measured = by_the_clock(model, captured, rewritten, planned, args, kwargs)
        notes.append(str(measured))
    with _timed(seconds, "verify"):
        proof = _proof(model, captured, planned, args, kwargs, more, notes)
        refused = proof[0][1] is None
        if batch_of_two and (refused or (not _within(proof[0][1]) and any(t.units for t, _ in proof))):
            raise _DependsOnBatch
        if refused:
            raise CheckFailed("the captured graph does not run on the example inputs that it was captured from")
        for t, error in proof:
            if t.given and error is None:
                raise InputError(f"the model was captured for other sizes than those of the example {t.shapes}")
        needed = {size for t, error in proof for size in t.units if not _within(error)}
        conditions = [c for c in captured.conditions if (size := excludes_one_only(c)) is None or size in needed]
        proven = [(t, error) for t, error in proof if error is not None and needed.isdisjoint(t.units)]
    with _timed(seconds, "emit"):
        emitted = planned.emit(conditions)
    with _timed(seconds, "verify"):
        certificate = certify(emitted.module, proven, dtype_of(captured))
    report = Report(
        counts_before(captured),
        counts_after(emitted.module, captured.hints),
        (*rewritten.welds, *emitted.welds),
        declined(planned.analysis, planned.plan, {**rewritten.refused, **planned.unlifted}),
        certificate,
        (*notes, *(f"not asserted: {c}" for c in emitted.unread_conditions)),
        {stage: round(s, 3) for stage, s in seconds.items()},
        weight_ranges(emitted.module, emitted.recipes, captured.state),
    )
    read = frozenset(key for recipe in emitted.recipes.values() for key in recipe.parameters())
    own = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    lifted = {key: captured.state[key] for key in read if key not in own}
    fingerprints = fingerprints_of(captured.state, read)
    return Fused(emitted.module, report, captured.graph, emitted.recipes, (args, kwargs), lifted, fingerprints)


def _proof(
    model: nn.Module,
    captured: Captured,
    planned: Planned,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    more: Sequence[Inputs],
    notes: list[str],
) -> list[tuple[Trial, float | None]]:
    """Trials and the twin's errors: against the model in float64, or its captured graph where it casts by itself."""
    always = [c for c in captured.conditions if excludes_one_only(c) is None]
    twin = planned.emit(always, double=True).module
    rounding = max(torch.finfo(dtype_of(captured)).eps, torch.finfo(torch.float32).eps) ** 0.5
    try:
        done = trials(model, copy.deepcopy(model).double(), captured, args, kwargs, more)
        errors = errors_of(twin, done)
        casts = errors[0] is not None and TWIN_BOUND < errors[0] < rounding
    except FAILURES:
        casts = True
    if casts:
        as_captured = planned_for(captured).as_written().emit((), double=True).module
        done = trials(model, as_captured, captured, args, kwargs, more)
        errors = errors_of(twin, done)
        if done[0].native_error > rounding:
            raise CheckFailed(f"the captured graph differs from the model by {done[0].native_error:.2g}")
        notes.append("the model fixes a dtype inside: float64 was checked against its captured graph")
    return list(zip(done, errors, strict=True))


def _within(error: float | None) -> bool:
    return error is not None and error <= TWIN_BOUND


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
