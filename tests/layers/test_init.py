"""R11: variances by the formulas, through any nesting; twenty layers keep their spread, and when they do not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from torchweld.core import InputError
from torchweld.layers import BatchNorm1d, activation_report, draw_reports, fans, initialise, spread


def chain(activation: type[nn.Module], depth: int = 20, width: int = 128) -> nn.Sequential:
    return nn.Sequential(*(m for _ in range(depth) for m in (nn.Linear(width, width, bias=False), activation())))


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize(
    ("rule", "fan", "variance"),
    [("xavier", "fan_in", 2 / (144 + 576)), ("kaiming", "fan_in", 2 / 144), ("kaiming", "fan_out", 2 / 576)],
)
def test_variances_are_the_formulas(distribution, rule, fan, variance: float) -> None:
    conv = nn.Conv2d(16, 64, 3)
    assert fans(conv.weight) == (144, 576)
    initialise(conv, rule, distribution, fan, generator=torch.Generator().manual_seed(0))
    w = conv.weight.detach().double().flatten()
    # variance of the sample variance: (kurtosis - 1) sigma^4 / n, kurtosis 3 (normal) and 1.8 (uniform)
    tolerance = 5 * math.sqrt((3 if distribution == "normal" else 1.8) - 1) / math.sqrt(len(w))
    assert abs(w.var().item() / variance - 1) < tolerance
    assert abs(w.mean().item()) < 5 * math.sqrt(variance / len(w))
    if distribution == "uniform":
        assert w.abs().max() <= math.sqrt(3 * variance)
    assert conv.bias is not None
    assert conv.bias.abs().max() == 0


@pytest.mark.parametrize("shape", [(7, 5), (6, 4, 3), (8, 2, 3, 5), (4, 3, 1, 2, 3)])
@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
def test_spreads_are_torchs(shape: tuple[int, ...], activation: str) -> None:
    """By the bound of torch's uniform rules, which the largest of its draws shows to within a few percent."""
    w = torch.empty(shape)
    assert spread(w, "kaiming", activation=activation) == pytest.approx(
        nn.init.calculate_gain(activation) / math.sqrt(nn.init._calculate_fan_in_and_fan_out(w)[0])
    )
    assert spread(w, "xavier") == pytest.approx(math.sqrt(2 / sum(nn.init._calculate_fan_in_and_fan_out(w))))


def test_rules_reach_any_depth_by_type() -> None:
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    own = BatchNorm1d(4)
    nn.init.normal_(own.weight)
    deep = nn.ModuleDict({"a": nn.ModuleList([nn.Sequential(nn.Conv2d(3, 4, 3), norm)]), "b": nn.Sequential(own)})
    deep["c"] = nn.Sequential(nn.Sequential(nn.Embedding(3, 2), nn.Linear(9, 5)))
    spared = deep["c"][0][1].weight.clone()
    embedding = deep["c"][0][0].weight.clone()
    before = deep["a"][0][0].weight.clone()
    initialise(deep, exceptions=lambda name, _: name == "c.0.1")
    assert torch.equal(norm.weight, torch.ones(4))
    assert torch.equal(norm.bias, torch.zeros(4))
    assert torch.equal(own.weight, torch.ones(4))
    assert not torch.equal(deep["a"][0][0].weight, before)
    assert torch.equal(deep["c"][0][1].weight, spared)
    assert torch.equal(deep["c"][0][0].weight, embedding)


@pytest.mark.parametrize(
    ("activation", "setting", "verdict"),
    [
        (nn.Tanh, {"rule": "xavier"}, "keeps its spread"),
        (nn.Tanh, {"rule": "xavier", "distribution": "uniform"}, "keeps its spread"),
        (nn.ReLU, {"rule": "kaiming"}, "keeps its spread"),
        (nn.ReLU, {"rule": "kaiming", "distribution": "uniform"}, "keeps its spread"),
        (nn.ReLU, {"rule": "xavier"}, "collapses"),
        (nn.Tanh, 0.01, "collapses"),
        (nn.ReLU, 0.01, "collapses"),
        (nn.Tanh, 1.0, "saturates"),
        (nn.ReLU, 1.0, "explodes"),
    ],
)
def test_twenty_layers(activation: type[nn.Module], setting, verdict: str) -> None:
    generator = torch.Generator().manual_seed(3)
    net = chain(activation)
    if isinstance(setting, dict):
        initialise(net, **setting, generator=generator)
    else:
        for p in net.parameters():
            nn.init.normal_(p, std=setting, generator=generator)
    report = activation_report(net, torch.randn(256, 128, generator=generator), only_activations=True)
    assert len(report.rows) == 20
    assert report.verdict == verdict, report.text()
    assert verdict in report.text()
    assert len(report.to_dict()["rows"]) == 20


def test_dead_units_and_figures_are_what_they_say(tmp_path: Path) -> None:
    conv = nn.Conv2d(2, 4, 3)
    conv.bias = nn.Parameter(torch.tensor([-100.0, 0.0, -100.0, -100.0]))
    net = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    x = torch.randn(3, 2, 5, 5)
    report = activation_report(net, x)
    assert [row.name for row in report.rows] == ["0", "1", "2", "3"]
    y = conv(x).relu()
    assert report.rows[1].dead == 0.75
    assert report.rows[1].mean == pytest.approx(y.mean().item(), rel=1e-5)
    assert report.rows[1].std == pytest.approx(y.std(correction=0).item(), rel=1e-5)
    assert activation_report(net, x, only_activations=True).verdict == "dies"
    assert not any(m._forward_hooks for m in net.modules())
    draw_reports({"net": report}, str(tmp_path / "spread.svg"))
    assert "<svg" in (tmp_path / "spread.svg").read_text()


def test_unknown_rules_are_named() -> None:
    layer = nn.Linear(2, 2)
    for setting in ({"rule": "he"}, {"fan": "fan_avg"}, {"distribution": "cauchy"}, {"activation": "swish"}):
        with pytest.raises(InputError, match=next(iter(setting.values()))):
            initialise(layer, **setting)
    with pytest.raises(InputError, match="no fans"):
        fans(torch.empty(3))
    with pytest.raises(InputError, match="no layer"):
        activation_report(layer, torch.randn(2, 2), only_activations=True)
