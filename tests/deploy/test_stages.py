"""R2: three stages equal to rounding on asymmetric input, at every kernel and grouping; the notes' slips would show."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchweld.core import CheckFailed, InputError, relative_error
from torchweld.deploy import StageSetting, three_stages, time_stages
from torchweld.fusion import fuse
from torchweld.layers import ResidualBlock


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (2, 1), (3, 1), (6, 2), (6, 3), (8, 8)])
def test_the_stages_are_one_function(kernel: int, channels: int, groups: int) -> None:
    block = ResidualBlock(channels, kernel=kernel, groups=groups).double()
    x = torch.randn(2, channels, 9, 6, dtype=torch.float64)
    native, three, one = three_stages(block)
    assert native is block
    assert isinstance(one, nn.Conv2d)
    assert relative_error(three(x), native(x)) < 1e-14
    assert relative_error(one(x), native(x)) < 1e-14


@pytest.mark.parametrize("groups", [1, 2])
def test_the_compiler_finds_the_kernel_that_the_stages_build_by_hand(groups: int) -> None:
    block = ResidualBlock(4, kernel=3, groups=groups).double().eval()
    by_hand = three_stages(block)[2]
    assert isinstance(by_hand, nn.Conv2d)
    welded = [m for m in fuse(block, torch.randn(1, 4, 8, 8).double()).module.modules() if isinstance(m, nn.Conv2d)]
    assert len(welded) == 1
    assert welded[0].bias is not None
    assert relative_error(welded[0].weight, by_hand.weight) < 1e-14
    assert relative_error(welded[0].bias, by_hand.bias) < 1e-14  # type: ignore[arg-type]


def test_the_block_is_left_as_it_was() -> None:
    block = ResidualBlock(4)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    one = three_stages(block)[2]
    with torch.no_grad():
        one.weight.zero_()  # type: ignore[operator, union-attr]
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_random_images_show_what_an_image_of_ones_hides() -> None:
    """A 1x1 kernel put into the corner: inside an image of ones it makes no difference."""
    block = ResidualBlock(3).double()
    assert isinstance(block.spatial, nn.Conv2d)
    assert isinstance(block.point, nn.Conv2d)
    one = three_stages(block)[2]
    assert isinstance(one, nn.Conv2d)
    with torch.no_grad():
        centred, cornered = (F.pad(block.point.weight, pad) for pad in ((1, 1, 1, 1), (0, 2, 0, 2)))
        one.weight += cornered - centred
    ones, drawn = torch.ones(1, 3, 8, 8).double(), torch.randn(1, 3, 8, 8).double()
    assert relative_error(one(ones)[..., 1:-1, 1:-1], block(ones)[..., 1:-1, 1:-1]) < 1e-14
    assert relative_error(one(drawn)[..., 1:-1, 1:-1], block(drawn)[..., 1:-1, 1:-1]) > 1e-2


@pytest.mark.parametrize(
    "block",
    [
        ResidualBlock(4, norm=True),
        ResidualBlock(4, 8),
        ResidualBlock(4, identity=False),
        ResidualBlock(4, stride=2, padding=1),
    ],
)
def test_other_blocks_are_refused_with_a_pointer(block: ResidualBlock) -> None:
    with pytest.raises(InputError, match="use fuse"):
        three_stages(block)


def test_the_table_holds_every_setting_with_its_errors() -> None:
    settings = (StageSetting(4, 8), StageSetting(6, 9, batch=2, kernel=5, groups=3))
    table = time_stages(settings, budget_seconds=0.01, threads=1)
    assert [row.setting for row in table.rows] == list(settings)
    for row in table.rows:
        assert min(row.native_ms, row.three_ms, row.one_ms) > 0
        assert row.speedup == row.native_ms / row.one_ms
        assert 0 < row.native_error < 1e-6
        assert max(row.three_error, row.one_error) < 2e-6
    assert table.to_dict()["rows"][1]["setting"]["groups"] == 3


def test_a_stage_that_differs_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(block: ResidualBlock) -> tuple[nn.Module, nn.Module, nn.Module]:
        native, three, _ = three_stages(block)
        return native, three, block.spatial

    monkeypatch.setattr("torchweld.deploy.stages.three_stages", wrong)
    with pytest.raises(CheckFailed, match="'one'"):
        time_stages((StageSetting(4, 8),), budget_seconds=0.01, threads=1)
