"""The layers as others meet them: exported whole, welded with a certificate, dropout gone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchweld.fusion import fuse
from torchweld.layers import (
    AdaptiveDropout,
    AddNorm,
    BatchNorm1d,
    BatchNorm2d,
    DropConnectLinear,
    Dropout,
    DropPath,
    LayerNorm,
    MultiHeadAttention,
    SinusoidalPositions,
)


class EncoderLayer(nn.Module):
    """Attention and a dense part, each with Add & Norm."""

    def __init__(self, order) -> None:
        super().__init__()
        self.positions = SinusoidalPositions(16, longest=64)
        self.attention = MultiHeadAttention(16, heads=4, rate=0.1)
        self.dense = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), Dropout(0.2), nn.Linear(32, 16))
        self.first, self.second = AddNorm(16, 0.1, order), AddNorm(16, 0.1, order)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.positions(x), lambda z: self.attention(z, causal=True))
        return self.second(x, self.dense)


def image_net() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        BatchNorm2d(8),
        nn.ReLU(),
        DropPath(0.3),
        Dropout(0.3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        DropConnectLinear(8, 6),
        BatchNorm1d(6),
        AdaptiveDropout(),
        LayerNorm(6),
    )
    net(torch.randn(16, 3, 7, 9) * 2 + 1)  # running averages
    return net


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: EncoderLayer("post"), (2, 7, 16)), (lambda: EncoderLayer("pre"), (2, 7, 16)), (image_net, (2, 3, 7, 9))],
)
def test_they_export_and_weld(make, shape: tuple[int, ...]) -> None:
    net, x = make().eval(), torch.randn(*shape)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
    fused = fuse(net, x)
    certificate = fused.report.certificate
    assert certificate.twin_error <= certificate.twin_bound
    assert len(certificate.checks) > 1
    torch.testing.assert_close(fused(x), net(x))
    assert not any("dropout" in str(node.target) for node in fused.module.graph.nodes)


def test_the_written_out_batch_norm_welds_as_torchs() -> None:
    """It is arithmetic and no norm to the compiler, which needs no pattern to see the convolution in it."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), BatchNorm2d(8)).train()
    net(torch.randn(4, 3, 9, 8) + 1)
    report = fuse(net.eval(), torch.randn(2, 3, 9, 8)).report
    assert (report.after.convs, report.after.operators) == (1, 1)
