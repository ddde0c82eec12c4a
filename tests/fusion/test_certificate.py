"""The proof is made every time, and a wrong result is never handed out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.fusion import expression
from torchweld.fusion.lift import affine
from torchweld.maps import ConvMap, Recipe, laws

from .agreement import assert_unmodified, noise, randomised


def _nudged(values: Tensor) -> Tensor:
    values = values.clone()
    values.view(-1)[-1] += 1e-6
    return values


def _with_wrong_weight(made: ConvMap) -> ConvMap:
    return replace(made, weight=Recipe("wrong", _nudged, (made.weight,)))


def _shifted_padding(made: ConvMap) -> ConvMap:
    g = made.geometry
    padding = tuple((far + 1, near - 1) if far == near > 0 else (near, far) for near, far in g.padding)
    return replace(made, geometry=replace(g, padding=padding))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.wide(x) + self.narrow(x)) - x)


@pytest.mark.parametrize(
    ("law", "wrong"),
    [
        ("compose", _with_wrong_weight),
        ("compose", _shifted_padding),
        ("add", _with_wrong_weight),
        ("add", _shifted_padding),
        ("negate", _with_wrong_weight),
    ],
)
def test_a_wrong_law_is_caught(law: str, wrong: Callable[[ConvMap], ConvMap], monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(expression, law)
    reached = []

    def lies(*args: Any) -> ConvMap:
        made = right(*args)
        changed = wrong(made)
        reached.append(changed != made)
        return changed

    model, x = randomised(Branches()), noise(2, 4, 9, 8, dtype=torch.float32)
    tw.fuse(model, x)
    monkeypatch.setattr(expression, law, lies)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(tw.CheckFailed, match=r"differs from the original in float64 by .* \(bound 1e-10\)"):
        tw.fuse(model, x)
    assert any(reached)
    assert_unmodified(model, before)


def test_a_forgotten_bias_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "composed_bias", lambda second, bias: second.bias)
    with pytest.raises(tw.CheckFailed, match="differs from the original"):
        tw.fuse(randomised(Branches()), noise(2, 4, 9, 8, dtype=torch.float32))


def test_a_border_that_differs_is_caught_though_its_check_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = nn.Conv2d(2, 2, (1, 3), padding=(0, 1), bias=False), nn.Conv2d(2, 2, (1, 3), padding=(0, 1))
    model = randomised(nn.Sequential(first, second))
    x = noise(2, 2, 9, 8, dtype=torch.float32)
    assert tw.fuse(model, x).report.after.convs == 2
    monkeypatch.setattr(laws, "check_composition", lambda *args, **kwargs: None)
    with pytest.raises(tw.CheckFailed, match="in float64"):
        tw.fuse(model, x)


def test_a_wrong_constant_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = affine.batch_norm
    monkeypatch.setattr(affine, "batch_norm", lambda w, b, mean, var, eps, n: right(w, b, mean, var, 10 * eps, n))
    with pytest.raises(tw.CheckFailed, match="in float64"):
        tw.fuse(randomised(Branches()), noise(2, 4, 9, 8, dtype=torch.float32))


def test_the_example_is_not_changed_and_constant_examples_prove_something() -> None:
    model, x = randomised(Branches()), torch.ones(1, 4, 9, 8)
    fused = tw.fuse(model, x)
    assert torch.equal(x, torch.ones(1, 4, 9, 8))
    shapes = [check.shapes for check in fused.report.certificate.checks]
    assert shapes[0] == "1x4x9x8"
    assert len({s.split("x")[0] for s in shapes}) >= 3
    heights = {int(s.split("x")[2]) for s in shapes}
    assert any(h % 2 for h in heights)
    assert any(s.split("x")[2] != s.split("x")[3] for s in shapes)


def test_models_that_cast_inside_are_proven_against_their_graph() -> None:
    class Casting(Branches):
        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(super().forward(x).float(), 1) * 2

    fused = tw.fuse(randomised(Casting()), noise(2, 4, 9, 8, dtype=torch.float32))
    assert fused.report.certificate.twin_error <= 1e-10
    half = randomised(Casting()).to(torch.bfloat16)
    assert tw.fuse(half, noise(2, 4, 9, 8, dtype=torch.bfloat16)).report.certificate.twin_error <= 1e-10


def test_infinities_and_nans_agree_in_place() -> None:
    class Masked(Branches):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return (y / 3).masked_fill(y > 0.5, float("-inf"))

    fused = tw.fuse(randomised(Masked()), noise(2, 4, 9, 8, dtype=torch.float32))
    assert fused.report.certificate.twin_error <= 1e-10
