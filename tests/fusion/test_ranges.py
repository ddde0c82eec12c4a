"""Merged kernels that int8 could not hold are named, and those that it can are not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion import explain


class Block(nn.Module):
    """A convolution with its norm, and an identity beside it that may have a norm of its own."""

    def __init__(self, factors: Tensor, identity: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        channels = len(factors)
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.norm.weight.data.copy_(factors)
        self.identity = identity

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return y + self.identity * x if self.identity else y


def _in_int8(module: nn.Module, per_channel: bool) -> nn.Module:
    module = copy.deepcopy(module)
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            w = conv.weight.data
            step = w.flatten(1).abs().amax(1).reshape(-1, 1, 1, 1) / 127 if per_channel else w.abs().max() / 127
            conv.weight.data = (w / step).round() * step
    return module


def _median_error(actual: Tensor, exact: Tensor) -> float:
    return sorted(relative_error(a, b) for a, b in zip(actual.unbind(1), exact.unbind(1), strict=True))[
        actual.shape[1] // 2
    ]


EVEN, UNEVEN = torch.linspace(0.8, 1.2, 16), torch.cat([torch.full((15,), 0.05), torch.tensor([5.0])])
CASES = {  # factors of the norm, identity: whether one scale is at risk, whether one a channel is
    "even": (EVEN, 0.0, False, False),
    "one channel far above the others": (UNEVEN, 0.0, True, False),
    "an identity far above its kernel": (0.1 * EVEN, 1.0, True, True),
}


@pytest.mark.parametrize("name", CASES)
def test_the_flag_agrees_with_a_simulated_quantisation(name: str) -> None:
    factors, identity, tensor_risk, channel_risk = CASES[name]
    model, x = Block(factors, identity).eval(), torch.randn(4, 16, 12, 12)
    fused = tw.fuse(model, x)
    (row,) = fused.report.ranges
    assert row.where == "conv"
    assert bool(row.risk) == tensor_risk
    assert ("16 bits" in row.risk) == channel_risk
    weight = fused.module.conv.weight
    for per_channel, predicted in ((False, row.tensor_after), (True, row.channel_after)):
        quantised = _in_int8(fused.module, per_channel).conv.weight
        seen = _median_error(quantised.transpose(0, 1), weight.transpose(0, 1))
        assert seen == pytest.approx(predicted, rel=0.6)
        assert (seen > 0.02) == (channel_risk if per_channel else tensor_risk)
    if not identity:  # the output then has the weights' error
        exact = fused(x)
        error = _median_error(_in_int8(fused.module, per_channel=False)(x), exact)
        assert (error > 0.02) == tensor_risk
        assert _median_error(_in_int8(fused.module, per_channel=True)(x), exact) < 0.02


def test_it_is_told_and_what_was_not_merged_has_no_row() -> None:
    risky = tw.fuse(Block(UNEVEN, 0.0).eval(), torch.randn(2, 16, 8, 8)).report
    assert "int8: 1 of 1 merged kernels would lose accuracy" in explain(risky)
    assert "quantise it with a scale a channel" in explain(risky)
    assert risky.to_dict()["ranges"][0]["tensor_after"] > 10 * risky.to_dict()["ranges"][0]["tensor_before"]
    plain = tw.fuse(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), torch.randn(2, 3, 8, 8)).report
    assert plain.ranges == ()
    assert "int8" not in explain(plain)
