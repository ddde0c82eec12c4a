"""The scale and shift of layer, RMS and group norms go into what reads them, or stay where something else does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchweld.fusion import Fused

from .agreement import assert_agree, noise, randomised, weld


class Block(nn.Module):
    """A norm over the last axis that three linears read, one of them past a view."""

    def __init__(self, norm: nn.Module, residual: bool) -> None:
        super().__init__()
        self.norm, self.residual = norm, residual
        self.a, self.b, self.c = (nn.Linear(6, 6, bias=b) for b in (True, False, True))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        out = self.a(y).relu() * self.b(y).sigmoid() + self.c(y[:, 0]).tanh().unsqueeze(1)
        return out + y if self.residual else out


class WrittenRMS(nn.Module):
    """As language models write it out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class WrittenLayer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.weight + self.bias


NORMS = {
    "layer": lambda: nn.LayerNorm(6),
    "layer without bias": lambda: nn.LayerNorm(6, bias=False),
    "RMS": lambda: nn.RMSNorm(6, eps=1e-6),
    "RMS, written out": lambda: WrittenRMS(6),
    "layer, written out": lambda: WrittenLayer(6),
}


def _drawn(model: nn.Module) -> nn.Module:
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    return model


def _affines(fused: Fused) -> int:
    """Products with constants, and norms that have a weight."""
    weights = [m for m in fused.module.modules() if isinstance(m, (nn.LayerNorm, nn.GroupNorm))]
    nodes = fused.module.graph.nodes
    scales = [n for n in nodes if any(s.op == "get_attr" for s in n.all_input_nodes)]
    return len(weights) + len(scales)


@pytest.mark.parametrize("name", NORMS)
def test_linears_take_in_the_norms_before_them(name: str) -> None:
    torch.manual_seed(0)
    fused = weld(_drawn(Block(NORMS[name](), residual=False)), noise(2, 3, 6), also=[(noise(1, 5, 6),)])
    assert _affines(fused) == 0
    again = weld(fused.module, noise(2, 3, 6))
    assert again.module.code == fused.module.code


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_that_a_residual_sum_reads_keeps_its_own(name: str) -> None:
    torch.manual_seed(0)
    fused = weld(_drawn(Block(NORMS[name](), residual=True)), noise(2, 3, 6))
    assert _affines(fused) >= 1
    if "written" not in name:
        (reason,) = [d.reason for d in fused.report.refusals if "the norm keeps" in d.reason]
        assert "add" in reason


class OnImages(nn.Module):
    def __init__(self, **conv: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(2, 4), nn.Conv2d(4, 5, **conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


def test_a_convolution_takes_in_a_group_norm_unless_it_pads() -> None:
    torch.manual_seed(0)
    for conv in ({"kernel_size": 1}, {"kernel_size": 3}):
        fused = weld(_drawn(OnImages(**conv)), noise(2, 4, 7, 6), also=[(noise(1, 4, 5, 8),)])
        assert _affines(fused) == 0
    padded = weld(_drawn(OnImages(kernel_size=3, padding=1)), noise(2, 4, 7, 6))
    assert _affines(padded) == 1
    assert any("cannot take them in" in d.reason for d in padded.report.refusals)


def test_norms_of_channels_last_images_and_refresh() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear, self.tie = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(x.permute(0, 2, 3, 1))
            return self.linear(y).permute(0, 3, 1, 2).relu().mean((2, 3)), self.tie(y.mean((1, 2)))

    torch.manual_seed(0)
    model = _drawn(Mixer())
    fused = weld(model, noise(2, 4, 5, 6), also=[(noise(1, 4, 3, 3),)])
    assert _affines(fused) == 0
    randomised(_drawn(model))
    fused.refresh(model)
    assert_agree(fused.module, model, noise(2, 4, 5, 6))


@pytest.mark.parametrize("last", [False, True])
def test_a_batch_norm_goes_through_flattening_into_the_linear(last: bool) -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.BatchNorm2d(4), nn.Linear(4 * 3 * 2, 5)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(torch.relu(x))
            y = y.permute(0, 2, 3, 1) if last else y
            return self.linear(y.flatten(1) if last else y.reshape(y.shape[0], -1))

    fused = weld(Head(), noise(2, 4, 3, 2), also=[(noise(5, 4, 3, 2),)])
    assert (fused.report.after.norms, fused.report.after.linears) == (0, 1)
    assert fused.report.after.parameters == 4 * 3 * 2 * 5 + 5


def test_a_mixing_map_does_not_go_through_flattening() -> None:
    fused = weld(nn.Sequential(nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(12, 5)), noise(2, 4, 3, 2))
    assert (fused.report.after.convs, fused.report.after.linears) == (1, 1)


@pytest.mark.parametrize("transposed", [False, True])
def test_one_dimensional_norms_go_into_linears(transposed: bool) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.BatchNorm1d(6), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(x)
            return self.linear(self.norm(y.transpose(1, 2)).transpose(1, 2) if transposed else self.norm(y))

    fused = weld(Tokens(), noise(*((2, 5, 6) if transposed else (4, 6))))
    assert (fused.report.after.norms, fused.report.after.linears) == (0, 1)


def test_linear_after_linear_merges_where_that_is_no_wider_and_low_rank_stays() -> None:
    wide = weld(nn.Sequential(nn.Linear(32, 128), nn.Linear(128, 16)), noise(8, 32))
    assert wide.report.after.linears == 1
    low = weld(nn.Sequential(nn.Linear(512, 2, bias=False), nn.Linear(2, 512)), noise(2048, 512))
    assert low.report.after.linears == 2
    assert any("would take longer" in d.reason for d in low.report.refusals)


def test_a_convolution_of_a_concat_of_which_one_part_is_affine() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(8, 3, 3)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.conv(torch.cat([torch.relu(x), self.norm(y)], 1))

    weld(Dense(), noise(2, 4, 9, 8), noise(2, 4, 9, 8, seed=5))


def test_products_with_matrices_are_linears() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.v = nn.Parameter(noise(6, 8)), nn.Parameter(noise(8, 3))
            self.b = nn.Parameter(noise(3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.addmm(self.b, x @ self.w, self.v)

    fused = weld(Functional(), noise(4, 6))
    assert fused.report.after.operators == 1


def test_a_product_of_two_inputs_is_none() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (2 * x) @ y

    weld(Both(), noise(3, 4), noise(4, 5))
