"""Folding a norm into its convolution, and every way in which users of other tools saw it go wrong."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import relative_error

from .agreement import assert_agree, noise, randomised, weld


@pytest.mark.parametrize("stride", [1, (2, 1)])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("dilation", [1, (1, 2)])
def test_every_kind_of_convolution_takes_in_its_norm(
    stride: int | tuple[int, int], groups: int, mode: str, dilation: int | tuple[int, int]
) -> None:
    conv = nn.Conv2d(4, 8, (3, 2), stride, (1, 2), dilation, groups, bias=groups != 2, padding_mode=mode)
    fused = weld(nn.Sequential(conv, nn.BatchNorm2d(8)), noise(2, 4, 9, 7), also=[(noise(1, 4, 8, 11),)])
    assert (fused.report.after.convs, fused.report.after.norms) == (1, 0)


class Branches(nn.Module):
    """A sum of convolutions, each with its norm."""

    def __init__(self, *convs: nn.Module, channels: int = 6) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(c, nn.BatchNorm2d(channels)) for c in convs)

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = [branch(x) for branch in self.branches]
        for value in rest:
            first = first + value
        return first


@pytest.mark.parametrize(
    ("dilation", "mode", "groups", "stride"), list(product((1, 2), ("zeros", "circular"), (1, 2), (1, 2)))
)
def test_branches_become_one_convolution(dilation: int, mode: str, groups: int, stride: int) -> None:
    model = Branches(
        nn.Conv2d(4, 6, 3, stride, dilation, dilation, groups, padding_mode=mode),
        nn.Conv2d(4, 6, 1, stride, groups=groups, bias=False),
    )
    fused = weld(model, noise(2, 4, 9, 8), also=[(noise(5, 4, 12, 7),)])
    assert (fused.report.after.convs, fused.report.after.norms) == (1, 0)


def test_kernels_that_are_not_square_keep_their_axes() -> None:
    model = Branches(
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, (1, 3), padding=(0, 1)),
        nn.Conv2d(4, 6, (3, 1), padding=(1, 0)),
        nn.Conv2d(4, 6, 1),
    )
    fused = weld(model, noise(2, 4, 7, 12), also=[(noise(1, 4, 13, 5),)])
    assert (fused.report.after.convs, fused.report.after.norms) == (1, 0)


def test_an_off_centre_tap_is_placed_where_its_padding_puts_it() -> None:
    model = Branches(nn.Conv2d(4, 6, (3, 4), padding=(1, 1)), nn.Conv2d(4, 6, (1, 2), padding=0))
    weld(model, noise(2, 4, 8, 6))
    padded = nn.Sequential(nn.Conv2d(4, 6, 1, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5))
    fused = weld(padded, noise(2, 4, 8, 6), also=[(noise(1, 4, 5, 9),)])
    assert fused.report.after.norms == 0


def test_a_wide_branch_beside_a_narrow_one_with_other_dilation() -> None:
    model = Branches(nn.Conv2d(4, 6, 3, padding=2, dilation=2), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 1))
    fused = weld(model, noise(2, 4, 9, 8))
    assert fused.report.after.norms == 0
    assert fused.report.after.convs <= 2


class Reused(nn.Module):
    """One convolution on two paths, of which one has a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x))) * torch.sigmoid(self.conv(x.flip(2)))


def test_a_convolution_reused_without_its_norm_stays_itself_there() -> None:
    fused = weld(Reused(), noise(2, 4, 6, 7))
    assert fused.report.after.norms == 0


def test_a_module_called_twice_is_folded_at_both_places() -> None:
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    fused = weld(nn.Sequential(block, block, nn.Flatten()), noise(2, 4, 6, 7))
    assert (fused.report.after.convs, fused.report.after.norms) == (2, 0)
    kernels = [p for p in fused.module.parameters() if p.ndim == 4]
    assert len(kernels) == 1, "both calls read one kernel"


def test_tied_parameters_are_folded_apart_where_their_norms_differ() -> None:
    first, second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    second.weight = first.weight
    model = nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), second, nn.BatchNorm2d(4))
    nn.init.normal_(model[4].weight)
    fused = weld(model, noise(2, 4, 6, 7))
    assert (fused.report.after.convs, fused.report.after.norms) == (2, 0)


def test_fusing_the_fused_model_changes_nothing() -> None:
    model = nn.Sequential(
        Branches(nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 1)),
        nn.ReLU(),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    x = noise(2, 4, 9, 8)
    once = weld(model, x)
    twice = tw.fuse(once.module, x)
    assert twice.module.code == once.module.code
    assert twice.report.before == twice.report.after == once.report.after
    assert twice.report.rewrites == ()
    assert list(twice.module.state_dict()) == list(once.module.state_dict())
    for mine, theirs in zip(twice.module.state_dict().values(), once.module.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_kernels_are_computed_in_float64_whatever_the_dtype(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    model = randomised(model).to(dtype)
    fused = tw.fuse(model, noise(2, 8, 9, 8, dtype=dtype))
    certificate = fused.report.certificate
    assert certificate.dtype == str(dtype).removeprefix("torch.")
    assert certificate.twin_error <= certificate.twin_bound == 1e-10
    assert certificate.fused_error <= certificate.fused_bound
    assert {p.dtype for p in fused.module.parameters()} == {dtype}
    conv, norm = model[:2].double()
    factors = norm.weight / (norm.running_var + norm.eps).sqrt()
    exact = conv.weight * factors.view(-1, 1, 1, 1)
    roundings = 4 if dtype == torch.float64 else 0.5  # one rounding at the end is at most half an eps
    assert relative_error(fused.module.get_parameter("0.weight"), exact) <= roundings * torch.finfo(dtype).eps


def test_training_mode_is_an_error_that_names_the_module() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(tw.InputError, match=r"training mode; call \.eval\(\)"):
        tw.fuse(model.train(), noise(2, 4, 6, 6, dtype=torch.float32))
    model.eval()[1].train()
    with pytest.raises(tw.InputError, match=r"module '1' is in training mode"):
        tw.fuse(model, noise(2, 4, 6, 6, dtype=torch.float32))


def test_more_training_after_fusing_leaves_the_fused_model_as_it_was() -> None:
    model = randomised(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))).double()
    x = noise(2, 4, 6, 6)
    fused = tw.fuse(model, x)
    with torch.no_grad():
        expected = model(x)
        for p in model.parameters():
            p.add_(1)
    assert_agree(fused.module, lambda _: expected, x)
    assert_agree(tw.fuse(model, x).module, model, x)
