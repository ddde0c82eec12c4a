"""What a batch does on its way through a network: the spread of each layer's values, its dead and saturated units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchweld.core import InputError

# Where an activation is saturated: its gradient there is below a few hundredths.
_SATURATED: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: lambda y: y.abs() > 0.99,
    nn.Sigmoid: lambda y: (y < 0.01) | (y > 0.99),
    nn.Hardtanh: lambda y: y.abs() == 1,
}
_RECTIFIED = (nn.ReLU, nn.ReLU6)
_COLLAPSED, _MOSTLY = 1e-2, 0.5


@dataclass(frozen=True)
class LayerActivation:
    """Outputs of one layer: mean, standard deviation, and shares from 0 to 1.

    `dead`: units (channels) of a ReLU that are 0 for the whole batch. `saturated`: values of a bounded activation at
    its bounds, |tanh| > 0.99.
    """

    name: str
    kind: str
    mean: float
    std: float
    dead: float
    saturated: float


@dataclass(frozen=True)
class ActivationReport:
    """One row a layer, in the order of the forward pass."""

    rows: tuple[LayerActivation, ...]

    @property
    def verdict(self) -> str:
        """`saturates`, `explodes`, `collapses`, `dies` or `keeps its spread`.

        More than half of a layer saturated; a spread 100 times the first layer's; a last spread below 1% of the first
        layer's; more than half of a layer's units dead; none of these.
        """
        last = self.rows[-1]
        if max(row.saturated for row in self.rows) > _MOSTLY:
            return "saturates"
        if max(row.std for row in self.rows) > self.rows[0].std / _COLLAPSED:
            return "explodes"
        if last.std < self.rows[0].std * _COLLAPSED:
            return "collapses"
        return "dies" if max(row.dead for row in self.rows) > _MOSTLY else "keeps its spread"

    def to_dict(self) -> dict[str, Any]:
        return {"verdict": self.verdict, "rows": [asdict(row) for row in self.rows]}

    def text(self) -> str:
        """The report as a table."""
        width = max(len(row.name) for row in self.rows)
        head = f"{'layer':{width}}  {'kind':10}  {'mean':>10}  {'std':>10}  {'dead':>6}  {'saturated':>9}"
        lines = [
            f"{r.name:{width}}  {r.kind:10}  {r.mean:10.3g}  {r.std:10.3g}  {r.dead:6.1%}  {r.saturated:9.1%}"
            for r in self.rows
        ]
        return "\n".join([head, *lines, self.verdict])


def activation_report(
    model: nn.Module,
    batch: Tensor,  # (B, ...)
    only_activations: bool = False,
) -> ActivationReport:
    """One forward pass without gradients, in the model's own mode; a row for each layer without children.

    `only_activations` leaves out all but ReLU, tanh and the like. Raises `InputError` if there is no layer to report.
    The pass of a model in training mode moves batch norm's averages as any other.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), net[0].bias.data.zero_()
    >>> report = activation_report(net, torch.tensor([[1.0, 3.0], [2.0, 5.0]]))
    >>> report.rows[1].name, report.rows[1].dead
    ('1', 0.5)
    """
    rows: list[LayerActivation] = []
    wanted: tuple[type[nn.Module], ...] = (*_SATURATED, *_RECTIFIED) if only_activations else (nn.Module,)
    hooks = []
    for name, layer in model.named_modules():
        if isinstance(layer, wanted) and not any(True for _ in layer.children()):
            hooks.append(layer.register_forward_hook(_recorder(name or type(layer).__name__, rows)))
    try:
        with torch.no_grad():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not rows:
        raise InputError("no layer ran that could be reported; give a model made of torch.nn layers")
    return ActivationReport(tuple(rows))


def _recorder(name: str, rows: list[LayerActivation]) -> Callable[[nn.Module, Any, Any], None]:
    def record(layer: nn.Module, _: Any, y: Any) -> None:
        if not isinstance(y, Tensor) or not y.is_floating_point() or not y.numel():
            return
        rule = _SATURATED.get(type(layer))
        dead = 0.0
        if isinstance(layer, _RECTIFIED) and y.ndim > 1:
            dead = (y == 0).transpose(0, 1).flatten(1).all(1).double().mean().item()
        saturated = 0.0 if rule is None else rule(y).double().mean().item()
        values = y.double()
        std = values.std(correction=0).item()
        rows.append(LayerActivation(name, type(layer).__name__, values.mean().item(), std, dead, saturated))

    return record


def draw_reports(reports: dict[str, ActivationReport], file: str) -> None:
    """The spread of the activations layer by layer, a curve for each report, in a PNG, SVG or PDF file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for name, report in reports.items():
        axis.semilogy(range(1, len(report.rows) + 1), [max(r.std, 1e-300) for r in report.rows], ".-", label=name)
    axis.set(xlabel="layer", ylabel="standard deviation of its outputs")
    axis.legend()
    figure.savefig(file)
