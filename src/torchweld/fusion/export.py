"""`torch.export` driven to keep as many sizes dynamic as the model allows.

Tried in turn: every axis of every input dynamic, with a batch of two (a batch of one would be taken for a constant);
the same with the example's batch; the batch alone dynamic; all sizes fixed.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic_config

from torchweld.core import InputError

# What user code and the exporter raise when a model cannot be run or captured.
FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    AssertionError,
    NotImplementedError,
    AttributeError,
    LookupError,
    ArithmeticError,
    InputError,
)
_TALKATIVE = ("fx.experimental.symbolic_shapes", "_export.non_strict_utils")
_LONGEST_FORMULA = 60  # operations in the formula of one size


@dataclass(frozen=True)
class _Attempt:
    """Inputs to capture at, how many leading axes of each may be dynamic, and whether sizes of 1 are told apart."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    free: int
    oblivious: bool = True


def export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, batch_of_two: bool = True, dynamic: bool = True
) -> tuple[ExportedProgram, str | None]:
    """The program, and the reason why sizes are fixed if they had to be. Raises `InputError` if nothing works."""
    reason: Exception | None = None
    for attempt in _attempts(args, kwargs, batch_of_two, dynamic):
        try:
            program = _exported(model, attempt)
        except FAILURES as error:
            reason = reason or error
            continue
        return program, first_line(reason) if reason and attempt.free < _ALL else None
    assert reason is not None
    raise InputError(
        f"{type(model).__name__} cannot be captured by torch.export: {first_line(reason)}; "
        "keep data-dependent Python control flow out of forward, or fuse its submodules one by one"
    ) from reason


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


_ALL, _BATCH, _NONE = 64, 1, 0  # axes


def _attempts(args: tuple[Any, ...], kwargs: dict[str, Any], batch_of_two: bool, dynamic: bool) -> list[_Attempt]:
    batched = _of_two(args, kwargs) if batch_of_two else None
    doubled = [_Attempt(*batched, _ALL)] if batched else []
    attempts: list[_Attempt] = []
    if dynamic:  # the third where sizes of 1 broadcast: only then are the others told apart from 1
        attempts = [*doubled, _Attempt(args, kwargs, _ALL), _Attempt(args, kwargs, _ALL, oblivious=False)]
        attempts += [_Attempt(*batched, _BATCH)] if batched else [_Attempt(args, kwargs, _BATCH)]
    return [*attempts, _Attempt(args, kwargs, _NONE)]


def _exported(model: nn.Module, attempt: _Attempt) -> ExportedProgram:
    def run(fixed_at_one: frozenset[int]) -> ExportedProgram:
        shapes = _dynamic(model, attempt, fixed_at_one)
        return torch.export.export(model, attempt.args, attempt.kwargs, dynamic_shapes=shapes, strict=False)

    oblivious = symbolic_config.patch(backed_size_oblivious=attempt.oblivious)  # type: ignore[attr-defined]
    with torch.no_grad(), oblivious, _quiet(), _of_simple_sizes():
        program = run(frozenset())
        ones = _fixed_at_one(program) if attempt.free else frozenset()
        return run(ones) if ones else program  # else such channels would count as unknown


class _ComplicatedSizes(RuntimeError):
    """Sizes that have become formulas over which the exporter would reason for minutes."""


@contextmanager
def _of_simple_sizes() -> Iterator[None]:
    """Gives up a capture where a module's output sizes have become long formulas of the input's."""

    def look(module: nn.Module, args: Any, output: Any) -> None:
        for value in output if isinstance(output, (tuple, list)) else (output,):
            for size in value.shape if isinstance(value, Tensor) else ():
                if isinstance(size, torch.SymInt) and size.node.expr.count_ops() > _LONGEST_FORMULA:
                    raise _ComplicatedSizes("the sizes inside become long formulas of the input's height and width")

    hook = nn.modules.module.register_module_forward_hook(look)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter logs each formula that it cannot solve, at length; what fails in the end is reported in one line."""
    loggers = [logging.getLogger(f"torch.{name}") for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _of_two(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The inputs with every batch of one doubled; None where the batch is no batch of one."""
    leaves, spec = pytree.tree_flatten((args, kwargs))
    tensors = [v for v in leaves if isinstance(v, Tensor) and v.ndim]
    if not tensors or any(t.shape[0] != 1 for t in tensors):
        return None
    doubled = [torch.cat([v, v]) if isinstance(v, Tensor) and v.ndim else v for v in leaves]
    both: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(doubled, spec)
    return both


def _fixed_at_one(program: ExportedProgram) -> frozenset[int]:
    """Axes of inputs that a guard alone holds at 1: the exporter leaves their sizes symbols."""
    found = (re.fullmatch(r".*\.size\(\)\[(\d+)\] == 1", c) for c in getattr(program, "_guards_code", None) or ())
    return frozenset(int(match[1]) for match in found if match)


def _dynamic(model: nn.Module, attempt: _Attempt, fixed_at_one: frozenset[int]) -> Any:
    """The free axes of every tensor are offered as dynamic; the model's own code fixes those it must."""
    if not attempt.free or _has_variadic(model):
        return None

    def axes(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        fixed = {i for i, d in enumerate(value.shape) if d == 1 and i in fixed_at_one}
        return {i: Dim.STATIC if i in fixed else Dim.AUTO for i in range(min(value.ndim, attempt.free))}

    values = (attempt.args, attempt.kwargs)
    positional, named = pytree.tree_map(axes, values, is_leaf=lambda v: isinstance(v, Tensor))
    return dict(inspect.signature(model.forward).bind(*positional, **named).arguments)


def _has_variadic(model: nn.Module) -> bool:
    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.VAR_KEYWORD in kinds
