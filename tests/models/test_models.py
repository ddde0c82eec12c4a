"""Networks by name: they run, learn, export, and say what they do not know."""

from __future__ import annotations

import pytest
import torch

from torchweld import models
from torchweld.core import InputError
from torchweld.fusion import fuse
from torchweld.layers import ResidualBlock


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_model_runs_and_every_parameter_learns(name: str, channels: int) -> None:
    net = models.create(name, classes=7, channels=channels)
    scores = net(torch.randn(2, channels, 33, 41))
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", models.names())
def test_every_model_is_captured_whole(name: str) -> None:
    net = models.create(name, channels=1).eval()
    x = torch.randn(2, 1, 32, 32)
    exported = torch.export.export(net, (x,)).module()
    torch.testing.assert_close(exported(x), net(x))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="branched_tiny"):
        models.create("branchd_tiny")
    with pytest.raises(InputError, match="known are"):
        models.create("?")


@pytest.mark.parametrize("sizes", [{"classes": 0}, {"channels": 0}])
def test_empty_sizes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="=0 is not positive"):
        models.create("branched_nano", **sizes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", models.names())
def test_every_block_welds_to_one_convolution(name: str, channels: int) -> None:
    net = models.create(name, channels=channels)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    after = fuse(net.eval(), torch.randn(1, channels, 32, 32)).report.after
    assert (after.convs, after.norms) == (sum(isinstance(m, ResidualBlock) for m in net.modules()), 0)
