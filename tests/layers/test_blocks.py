"""R12's blocks: channels, sizes and formulas of the dense and the residual ones."""

from __future__ import annotations

import pytest
import torch

from torchweld.core import InputError
from torchweld.layers import BasicBlock, Bottleneck, DenseBlock, DenseLayer, Transition


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_channels_grow_as_the_paper_says(bottleneck: int) -> None:
    block = DenseBlock(layers=4, channels=5, growth=3, bottleneck=bottleneck)
    assert [layer.norm1.num_features for layer in block.values()] == [5 + 3 * i for i in range(4)]
    x = torch.randn(2, 5, 7, 6)
    y = block(x)
    assert y.shape == (2, 17, 7, 6) == (2, block.channels_out, 7, 6)
    assert torch.equal(y[:, :5], x)  # what came before is passed on as it was


def test_a_dense_layer_reads_all_before_it() -> None:
    block = DenseBlock(layers=3, channels=2, growth=2).eval()
    x = torch.randn(1, 2, 5, 5)
    y = block(x)
    assert torch.allclose(y[:, 6:], block["denselayer3"](y[:, :6]), atol=1e-6)


def test_transition_halves() -> None:
    layer = Transition(6, 3).eval()
    x = torch.randn(2, 6, 7, 8)
    expected = torch.nn.functional.avg_pool2d(layer.conv(layer.norm(x).relu()), 2)
    assert torch.equal(layer(x), expected)
    assert layer(x).shape == (2, 3, 3, 4)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_the_shortcut_is_the_identity_where_it_fits(block) -> None:
    out = 4 * block.expansion
    assert block(out, 4).downsample is None
    assert block(out, 4, stride=2).downsample is not None
    assert block(out + 1, 4).downsample is not None
    assert block(out, 4, convolve_shortcut=True).downsample is not None
    with pytest.raises(InputError, match="convolve_shortcut=True"):
        block(out, 4, stride=2, convolve_shortcut=False)
    net = block(out, 4).eval()
    last = net.bn2 if block is BasicBlock else net.bn3
    torch.nn.init.zeros_(last.weight)
    x = torch.randn(1, out, 5, 6)
    assert torch.equal(net(x), x.relu())
    strided = block(out, 4, stride=2)(torch.randn(2, out, 5, 6))
    assert strided.shape == (2, out, 3, 3)


def test_sizes_must_be_positive() -> None:
    with pytest.raises(InputError, match="growth=0"):
        DenseLayer(4, 0)
