"""From a captured graph to a plan: by estimated costs, or the fastest of several by the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from torchweld.fusion.analyse import Analysis, analyse
from torchweld.fusion.capture import Captured
from torchweld.fusion.cost import Costs
from torchweld.fusion.cover import as_written, cover
from torchweld.fusion.emit import Emitted, emit
from torchweld.fusion.guards import excludes_one_only
from torchweld.fusion.join import joined
from torchweld.fusion.lift import constants_of, local_laws
from torchweld.fusion.machine import machine_for
from torchweld.fusion.measure import WRITTEN, Measured, MeasuredCosts, fastest
from torchweld.fusion.plan import Plan
from torchweld.fusion.rewrites import Rewritten
from torchweld.maps import Recipe


@dataclass(frozen=True)
class Planned:
    """A captured graph with its analysis and its plan."""

    captured: Captured
    constants: Mapping[Node, Recipe]
    analysis: Analysis
    plan: Plan
    unlifted: Mapping[Node, str]

    def emit(self, conditions: Iterable[str], *, double: bool = False) -> Emitted:
        return emit(self.captured, self.analysis, self.plan, self.constants, conditions, double=double)

    def as_written(self) -> Planned:
        return replace(self, plan=as_written(self.analysis))


def planned_for(captured: Captured, costs: Costs | None = None) -> Planned:
    constants = constants_of(captured)
    laws, unlifted = local_laws(captured, constants)
    costs = costs or Costs(machine_for(device_of(captured), dtype_of(captured)), captured.hints)
    analysis = analyse(captured, laws, costs)
    plan = joined(cover(captured.graph, analysis, costs), analysis, costs)
    return Planned(captured, constants, analysis, plan, unlifted)


def by_the_clock(
    model: nn.Module,
    captured: Captured,
    rewritten: Rewritten,
    planned: Planned,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Rewritten, Planned, Measured]:
    """The fastest of several plans for this machine, and what each took."""
    device, dtype = device_of(captured), dtype_of(captured)
    costs = MeasuredCosts(machine_for(device, dtype), captured.hints, device, dtype)
    plans = {
        WRITTEN: planned_for(captured).as_written(),
        "planned": planned,
        "planned from timed maps": planned_for(rewritten.captured, costs),
        "planned without joins": replace(planned, plan=replace(planned.plan, joins={}, chosen=planned.plan.apart)),
        "rewritten only": planned.as_written(),
    }
    costs.keep()
    modules: dict[str, nn.Module] = {}
    for name, plan in plans.items():
        module = plan.emit([c for c in captured.conditions if excludes_one_only(c) is None]).module
        if not any(_alike(module, other) for other in modules.values()):
            modules[name] = module

    def call_of(module: nn.Module) -> Callable[[], object]:
        return lambda: module(*args, **kwargs)

    measured = fastest(call_of(model), {name: call_of(module) for name, module in modules.items()}, device)
    if measured.chosen == WRITTEN:
        rewritten = Rewritten(captured, (), {})
    return rewritten, plans[measured.chosen], measured


def _alike(a: nn.Module, b: nn.Module) -> bool:
    shapes = [[(name, t.shape) for name, t in m.state_dict().items()] for m in (a, b)]
    return shapes[0] == shapes[1] and a.code == b.code


def device_of(captured: Captured) -> str:
    types = {t.device.type for t in captured.state.values()}
    return "cuda" if "cuda" in types else "cpu"


def dtype_of(captured: Captured) -> torch.dtype:
    """The dtype that the model computes in: its parameters', else its inputs'."""
    floats = [t.dtype for t in captured.state.values() if t.is_floating_point()]
    floats += [n.meta["val"].dtype for n in captured.inputs.values() if n.meta["val"].is_floating_point()]
    return floats[0] if floats else torch.float32
