"""R1: the block computes its formula, at every setting it allows, and names the mend for the others."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchweld.core import InputError, relative_error
from torchweld.layers import ResidualBlock


def randomised(block: ResidualBlock) -> ResidualBlock:
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return block.double().eval()


@pytest.mark.parametrize("kernel", [1, 3, 5, 9])
@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (6, 1), (6, 2), (6, 6)])
def test_it_is_the_sum_of_its_branches(kernel: int, channels: int, groups: int) -> None:
    block = ResidualBlock(channels, kernel=kernel, groups=groups).double()
    x = torch.randn(2, channels, 7, 10, dtype=torch.float64)
    spatial, point = block.spatial, block.point
    assert isinstance(spatial, nn.Conv2d)
    assert isinstance(point, nn.Conv2d)
    expected = (
        F.conv2d(x, spatial.weight, spatial.bias, padding=kernel // 2, groups=groups)
        + F.conv2d(x, point.weight, point.bias, groups=groups)
        + x
    )
    assert relative_error(block(x), expected) < 1e-14


def test_normed_branches_each_have_their_own_norm() -> None:
    block = randomised(ResidualBlock(4, norm=True))
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    assert isinstance(block.identity, nn.BatchNorm2d)
    expected = block.spatial(x) + block.point(x) + block.identity(x)
    assert relative_error(block(x), expected) < 1e-14
    assert sum(isinstance(m, nn.BatchNorm2d) for m in block.modules()) == 3
    assert all(m.bias is None for m in block.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("excess", [0, 1, 2])
def test_both_branches_look_at_the_centre_of_the_window(stride: int, excess: int) -> None:
    """A spatial kernel that is zero but for its centre and the pointwise kernel then cancel, at every position."""
    block = ResidualBlock(3, 5, kernel=5, stride=stride, padding=2 + excess)
    assert isinstance(block.spatial, nn.Conv2d)
    assert isinstance(block.point, nn.Conv2d)
    with torch.no_grad():
        block.spatial.weight.zero_()
        block.spatial.weight[:, :, 2, 2] = -block.point.weight[:, :, 0, 0]
        assert block.spatial.bias is not None
        assert block.point.bias is not None
        block.spatial.bias.copy_(-block.point.bias)
    for size in (9, 10, 11):
        assert block(torch.randn(1, 3, size, size + 3)).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"kernel": 4}, "kernel=4"),
        ({"groups": 5}, "groups=5"),
        ({"channels_out": 9, "groups": 2}, "groups=2"),
        ({"stride": 2}, "padding=1"),
        ({"padding": 0}, "padding=1"),
        ({"padding": "valid"}, "valid"),
        ({"channels": 0}, "channels=0"),
        ({"channels_out": 12, "identity": True}, "identity=False"),
        ({"stride": 2, "padding": 1, "identity": True}, "the stride is 2"),
        ({"padding": 2, "identity": True}, "size"),
    ],
)
def test_what_does_not_fit_is_named_with_its_mend(arguments: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        ResidualBlock(**{"channels": 8, **arguments})


def test_the_identity_is_there_where_it_fits() -> None:
    assert ResidualBlock(8).identity is not None
    assert ResidualBlock(8, identity=False).identity is None
    assert ResidualBlock(8, 16).identity is None
    assert ResidualBlock(8, stride=2, padding=1).identity is None
