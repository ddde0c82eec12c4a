"""The expanded model is the original's function: in eval mode anywhere, in training on the calibration batch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion import expansion_report

from .hosts import Residual, batch, lived_in

BLOCKS = ("rep", "asymmetric", "diverse", "wide(3)")
WINDOWS = {
    "3x3": {},
    "strided": {"stride": 2},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 6},
    "depth multiplier": {"groups": 6, "out_channels": 12},
    "dilated": {"dilation": 2, "padding": 2},
    "non-square": {"kernel_size": (3, 5), "padding": (1, 2)},
    "without padding": {"padding": 0},
    "padded less": {"kernel_size": 5, "padding": (1, 2)},
    "padded more": {"padding": 3},
    "even, same": {"kernel_size": (2, 4), "padding": "same"},
    "even, strided": {"kernel_size": 4, "stride": 2},
    "reflect": {"padding_mode": "reflect"},
    "circular, non-square stride": {"padding_mode": "circular", "stride": (1, 2)},
    "replicate, dilated": {"padding_mode": "replicate", "dilation": (1, 2), "padding": (1, 2)},
    "same, dilated, reflect": {"padding": "same", "dilation": (2, 1), "padding_mode": "reflect"},
    "more channels": {"out_channels": 10},
}


def convolution(**options: object) -> nn.Conv2d:
    given: dict[str, object] = {"in_channels": 6, "out_channels": 6, "kernel_size": 3, "padding": 1} | options
    return nn.Conv2d(**given)  # type: ignore[arg-type]


def trained(model: nn.Module, x: Tensor) -> Tensor:
    """The output in training mode, of a copy so that no statistics move."""
    return copy.deepcopy(model).train()(x)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("norm", ["branch", "after"])
def test_every_window_keeps_its_function_and_comes_back(block: str, window: str, norm: str) -> None:
    conv = convolution(**WINDOWS[window], bias=False)
    model = lived_in(nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())).eval()
    x, other = batch(4, 6, 11, 9), batch(2, 6, 8, 13, seed=2)
    wide = tw.expand(model, block, calibrate=x, norm=norm)  # type: ignore[arg-type]
    report = expansion_report(wide)
    assert len(report.expanded[0].branches) >= 2
    assert report.error is not None
    assert report.error <= 1e-10
    assert relative_error(wide(other), model(other)) <= 1e-10
    assert relative_error(trained(wide, x), trained(model, x)) <= 1e-6
    thin = tw.collapse(wide)
    assert relative_error(thin(other), model(other)) <= 1e-10
    assert type(thin[0]) is nn.Conv2d
    copy.deepcopy(model).load_state_dict(thin.state_dict(), strict=True)


@pytest.mark.parametrize("block", ["rep", "diverse", "wide(2)"])
@pytest.mark.parametrize(
    ("conv", "norm", "shape"),
    [
        (nn.Conv1d(4, 4, 5, padding=2, bias=False), nn.BatchNorm1d(4), (4, 4, 17)),
        (nn.Conv3d(2, 4, (3, 1, 3), padding=(1, 0, 1), bias=False), nn.BatchNorm3d(4), (3, 2, 5, 4, 6)),
    ],
    ids=["one dimension", "three dimensions"],
)
def test_other_ranks(block: str, conv: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    model, x = lived_in(nn.Sequential(conv, norm)).eval(), batch(*shape)
    wide = tw.expand(model, block, calibrate=x)
    assert relative_error(wide(x), model(x)) <= 1e-10
    assert relative_error(tw.collapse(wide)(x), model(x)) <= 1e-10


def test_asymmetric_in_three_dimensions_has_a_branch_along_each_axis() -> None:
    model = lived_in(nn.Sequential(nn.Conv3d(2, 4, 3, bias=False), nn.BatchNorm3d(4))).eval()
    x = batch(3, 2, 6, 5, 7)
    wide = tw.expand(model, "asymmetric", calibrate=x)
    assert expansion_report(wide).expanded[0].branches == ("main", "along_0", "along_1", "along_2")
    assert relative_error(wide(x), model(x)) <= 1e-10


@pytest.mark.parametrize("block", BLOCKS)
def test_first_training_loss_is_the_originals(block: str) -> None:
    torch.manual_seed(0)
    x, y = batch(16, 3, 12, 12), torch.randint(0, 5, (16,))
    for model in (Residual().double(), lived_in(Residual())):  # fresh: running statistics are 0 and 1; then lived in
        wide = tw.expand(model, block, calibrate=x)
        expected, found = (nn.functional.cross_entropy(trained(m, x), y).item() for m in (model, wide))
        assert found == pytest.approx(expected, rel=1e-4)


def test_first_training_loss_is_near_on_a_batch_that_was_not_seen() -> None:
    torch.manual_seed(0)
    model = lived_in(Residual())
    wide = tw.expand(model, "diverse", calibrate=batch(64, 3, 12, 12))
    x, y = batch(64, 3, 12, 12, seed=9), torch.randint(0, 5, (64,))
    expected, found = (nn.functional.cross_entropy(trained(m, x), y).item() for m in (model, wide))
    assert found == pytest.approx(expected, rel=0.05)


def test_without_norms_training_mode_is_exact_and_needs_no_data() -> None:
    model, x = lived_in(Residual()), batch(8, 3, 12, 12)
    wide = tw.expand(model, "diverse", norm="after")
    assert expansion_report(wide).error is None
    assert relative_error(trained(wide, x), trained(model, x)) <= 1e-12
    assert relative_error(wide.eval()(x), model.eval()(x)) <= 1e-12


@pytest.mark.parametrize("norm", ["branch", "after"])
def test_without_a_norm_behind_it_the_bias_is_carried(norm: str) -> None:
    model, x = lived_in(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())).eval(), batch(4, 3, 8, 8)
    wide = tw.expand(model, "rep", calibrate=x, norm=norm)  # type: ignore[arg-type]
    thin = tw.collapse(wide)
    assert relative_error(wide(x), model(x)) <= 1e-12
    assert relative_error(thin(x), model(x)) <= 1e-12
    assert thin.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("norm", "in_training"),  # an eps near the branches' variances is not scaled with them: exact in eval mode only
    [
        (nn.BatchNorm2d(5, affine=False), 1e-6),
        (nn.BatchNorm2d(5, momentum=None), 1e-6),
        (nn.BatchNorm2d(5, eps=0.1), 0.05),
    ],
    ids=["no affine", "cumulative", "large eps"],
)
@pytest.mark.parametrize("bias", [False, True])
def test_norms_with_other_options(norm: nn.BatchNorm2d, in_training: float, bias: bool) -> None:
    model = lived_in(nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), copy.deepcopy(norm))).eval()
    x = batch(4, 3, 8, 8)
    wide = tw.expand(model, "diverse", calibrate=x)
    thin = tw.collapse(wide)
    assert relative_error(wide(x), model(x)) <= 1e-10
    assert relative_error(trained(wide, x), trained(model, x)) <= in_training
    assert relative_error(thin(x), model(x)) <= 1e-10
    assert thin.state_dict().keys() == model.state_dict().keys()
    assert (thin[1].eps, thin[1].momentum) == (norm.eps, norm.momentum)


def test_a_zero_initialised_norm_stays_zero_and_can_learn() -> None:
    model, x = lived_in(nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5))), batch(4, 3, 8, 8)
    nn.init.zeros_(model[1].weight)
    wide = tw.expand(model, "rep", calibrate=x).train()
    assert relative_error(wide(x), model.train()(x)) <= 1e-12
    (wide(x) * batch(4, 5, 6, 6)).sum().backward()
    assert all(branch.norm.weight.grad.norm() > 0 for branch in wide[0].branches.values())


def test_a_dead_input_channel_does_no_harm() -> None:
    model, x = (
        lived_in(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))).eval(),
        batch(4, 4, 8, 8),
    )
    x[:, 2] = 0
    wide, other = tw.expand(model, "rep", calibrate=x), batch(4, 4, 8, 8, seed=5)
    assert relative_error(wide(other), model(other)) <= 1e-10  # the channel is alive again
    assert relative_error(trained(wide, x), trained(model, x)) <= 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_other_dtypes(dtype: torch.dtype) -> None:
    model, x = lived_in(Residual()).to(dtype).eval(), batch(8, 3, 12, 12).to(dtype)
    wide = tw.expand(model, "diverse", calibrate=x)
    assert {p.dtype for p in wide.parameters()} == {dtype}
    assert {b.dtype for b in wide.buffers() if b.is_floating_point()} == {dtype}
    report = expansion_report(wide)
    assert report.error is not None
    assert report.error <= 1e-5
    exact = copy.deepcopy(model).double()(x.double())
    own = relative_error(model(x), exact)
    assert relative_error(wide(x), exact) <= max(8 * own, 16 * torch.finfo(dtype).eps)
    thin = tw.collapse(wide)
    assert {p.dtype for p in thin.parameters()} == {dtype}
    assert relative_error(thin(x), exact) <= max(8 * own, 16 * torch.finfo(dtype).eps)
