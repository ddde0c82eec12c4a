"""The largest submodules that can be welded, where the whole model cannot be captured.

The original is run once on the examples while hooks note what each submodule is called with. From the top down, each
module is welded by itself with those inputs; where that fails, its children are tried. A welded module takes its place
in a copy of the model and stays there if the copy still gives what the original gives.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from torchweld.core import CheckFailed, InputError, accuracy_bound
from torchweld.fusion.export import FAILURES, first_line
from torchweld.fusion.fused import Fused
from torchweld.fusion.partly import PartlyFused
from torchweld.fusion.report import Certificate, Check, Counts, Declined, Report, Weld
from torchweld.fusion.verify import TWIN_BOUND, Inputs, doubled, error_between, outputs_of

Welder = Callable[[nn.Module, Sequence[Inputs]], Fused]
_MOST_CALLS = 4  # of one module, noted and proven
_WRONG = (*FAILURES, CheckFailed)


def fuse_parts(
    model: nn.Module,
    examples: Sequence[Inputs],
    weld: Welder,
    include: Sequence[str],
    exclude: Sequence[str],
    why: str,
) -> PartlyFused:
    """Welds what can be welded; `why` says what kept the whole from it.

    Raises `InputError` if nothing can be welded, and `CheckFailed` if the model then computes something else.
    """
    patterns = _Patterns(tuple(include), tuple(exclude))
    patterns.check([path for path, _ in model.named_modules()])
    try:
        calls = _noted(model, examples)
    except FAILURES as error:
        raise InputError(f"the model does not run on the example inputs: {first_line(error)}") from error
    search = _Search(model, copy.deepcopy(model), examples, calls, weld, patterns, why)
    search.run()
    if not search.parts:
        reasons = "; ".join(f"{d.where}: {d.reason}" for d in search.declined[:3])
        raise InputError(f"no part of {type(model).__name__} could be welded ({reasons})")
    return PartlyFused(search.copy, _report(model, search), search.parts, tuple(search.declined))


@dataclass(frozen=True)
class _Patterns:
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def check(self, paths: list[str]) -> None:
        for name, patterns in (("include", self.include), ("exclude", self.exclude)):
            for pattern in patterns:
                if not any(fnmatchcase(p, pattern) for p in paths):
                    raise InputError(f"{name}={pattern!r} matches no module of the model")

    def why_not(self, path: str, below: Iterable[str]) -> str | None:
        """Why a module may not be welded as one."""
        if any(fnmatchcase(path, p) for p in self.exclude):
            return "excluded"
        inside = next((b for b in below if any(fnmatchcase(b, p) for p in self.exclude)), None)
        if inside is not None:
            return f"{inside} in it is excluded"
        parts = path.split(".")
        above = [".".join(parts[: i + 1]) for i in range(len(parts))]
        if not any(fnmatchcase(a, p) for a in above for p in self.include):
            return "not included"
        return None


@dataclass(eq=False)
class _Search:
    model: nn.Module
    copy: nn.Module
    examples: Sequence[Inputs]
    calls: dict[str, list[Inputs]]
    weld: Welder
    patterns: _Patterns
    why: str
    parts: dict[str, Fused] = field(default_factory=dict)
    declined: list[Declined] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def run(self) -> None:
        self.expected = [outputs_of(self.model, e) for e in self.examples]
        self._try("", self.model)

    def _try(self, path: str, module: nn.Module) -> None:
        if id(module) in self.seen:  # shared: done at its first path
            return
        self.seen.add(id(module))
        below = [f"{path}.{n}".lstrip(".") for n, _ in module.named_modules() if n]
        reason = self.patterns.why_not(path, below) or self._welded(path, module)
        if reason is None:
            return
        if reason:
            self.declined.append(Declined(path or type(module).__name__, reason))
        if reason != "excluded":
            for name, child in module.named_children():
                self._try(f"{path}.{name}".lstrip("."), child)

    def _welded(self, path: str, module: nn.Module) -> str | None:
        """Welds the module and puts it in its place; else the reason, "" for one that nobody would ask about."""
        if not path:
            return self.why
        if not any(True for _ in module.parameters()):
            return ""
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            return "it has hooks, which would be lost"
        if path not in self.calls:
            return "it is not called by itself on the example inputs"
        try:
            fused = self.weld(module, self.calls[path])
        except _WRONG as error:
            return first_line(error)
        if fused.report.after.operators >= fused.report.before.operators and not fused.report.rewrites:
            return "" if not any(True for _ in module.children()) else "there is nothing to weld in it"
        replaced = self._replaced(path, module, fused.module)
        try:
            for example, expected in zip(self.examples, self.expected, strict=True):
                if error_between(outputs_of(self.copy, example), expected) > 1e-2:
                    raise CheckFailed("the model then computes something else")
        except _WRONG as error:
            for parent, name, original in replaced:
                setattr(parent, name, original)
            return f"the model uses more of it than its forward: {first_line(error)}"
        self.parts[path] = fused
        return None

    def _replaced(self, path: str, module: nn.Module, fused: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
        """Puts the welded module wherever the copy has the original's twin; what stood there."""
        twin, done = self.copy.get_submodule(path), []
        for parent in list(self.copy.modules()):
            for name, child in list(parent._modules.items()):
                if child is twin:
                    setattr(parent, name, fused)
                    done.append((parent, name, twin))
        return done


def _noted(model: nn.Module, examples: Sequence[Inputs]) -> dict[str, list[Inputs]]:
    """What each submodule is called with."""
    calls: dict[str, list[Inputs]] = {}
    paths = {id(m): path for path, m in reversed(list(model.named_modules()))}

    def note(module: nn.Module, args: Any, kwargs: Any) -> None:
        found = calls.setdefault(paths[id(module)], [])
        if len(found) < _MOST_CALLS:
            found.append(pytree.tree_map(lambda v: v.detach().clone() if isinstance(v, Tensor) else v, (args, kwargs)))

    @contextmanager
    def hooked() -> Any:
        hooks = [m.register_forward_pre_hook(note, with_kwargs=True) for m in model.modules() if m is not model]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    with hooked(), torch.no_grad():
        for example in examples:
            outputs_of(model, example)
    return calls


def _report(model: nn.Module, search: _Search) -> Report:
    parts = {path: f.report for path, f in search.parts.items()}
    welds = [
        Weld(f"{p}.{w.where}", tuple(f"{p}.{s}" for s in w.sources), w.laws)
        for p, r in parts.items()
        for w in r.rewrites
    ]
    refusals = [Declined(f"{p}.{d.where}", d.reason) for p, r in parts.items() for d in r.refusals]
    notes = [f"welded in part: {', '.join(parts)}; sizes, counts and times are those of these parts together"]
    notes += [f"{p}: {note}" for p, r in parts.items() for note in r.notes]
    seconds: dict[str, float] = {}
    for r in parts.values():
        for stage, s in r.seconds.items():
            seconds[stage] = round(seconds.get(stage, 0.0) + s, 3)
    return Report(
        _total([r.before for r in parts.values()]),
        _total([r.after for r in parts.values()]),
        tuple(welds),
        (*search.declined, *refusals),
        _certificate(model, search, [r.certificate for r in parts.values()], notes),
        tuple(notes),
        seconds,
        tuple(replace(row, where=f"{p}.{row.where}") for p, r in parts.items() for row in r.ranges),
    )


def _total(counts: list[Counts]) -> Counts:
    names = Counts.__dataclass_fields__
    return Counts(**{n: sum(getattr(c, n) for c in counts) for n in names})


def _certificate(model: nn.Module, search: _Search, parts: list[Certificate], notes: list[str]) -> Certificate:
    """The whole in the model's dtype, beside the float64 proof of each part; raises `CheckFailed` out of bounds."""
    try:
        wide = copy.deepcopy(model).double()
        exact = [outputs_of(wide, doubled(e)) for e in search.examples]
        same = all(error_between(a, b) < 1e-2 for a, b in zip(search.expected, exact, strict=True))
    except FAILURES:
        same = False
    if not same:
        exact = search.expected
        notes.append("the model does not run in float64: the whole is compared with the model in its own dtype")
    twin = max(c.twin_error for c in parts)
    checks = [
        Check(
            ", ".join("x".join(map(str, t.shape)) for t in pytree.tree_leaves(example) if isinstance(t, Tensor)),
            twin,
            error_between(outputs_of(search.copy, example), reference),
            error_between(native, reference),
        )
        for example, reference, native in zip(search.examples, exact, search.expected, strict=True)
    ]
    native_error = max(c.native_error for c in checks)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    bound = max(accuracy_bound(dtype, native_error), max(c.fused_bound for c in parts))
    certificate = replace(
        parts[0],
        twin_error=twin,
        twin_bound=TWIN_BOUND,
        fused_error=max(c.fused_error for c in checks),
        fused_bound=bound,
        native_error=native_error,
        checks=tuple(checks),
    )
    if not certificate.fused_error <= bound:
        raise CheckFailed(f"the model with welded parts differs by {certificate.fused_error:.2g} (bound {bound:.2g})")
    return certificate
