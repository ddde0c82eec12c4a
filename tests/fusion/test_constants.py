"""What no input reaches is computed once: weight norm, parametrisations, merged adapters, masks, grids."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import torchweld as tw

from .agreement import assert_unmodified, noise, weld


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(-1)


class Adapted(nn.Module):
    """A low-rank adapter added to a linear layer's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.randn(5, 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + 0.5 * self.up @ self.down


def _parametrised(kind: str) -> nn.Module:
    conv, linear = nn.Conv2d(4, 6, 3), nn.Linear(6, 5)
    if kind == "weight norm":
        parametrizations.weight_norm(conv)
    elif kind == "spectral norm":
        parametrizations.spectral_norm(conv)
    elif kind == "own":
        parametrize.register_parametrization(conv, "weight", Symmetric())
    else:
        parametrize.register_parametrization(linear, "weight", Adapted())
    return nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


@pytest.mark.parametrize("kind", ["weight norm", "spectral norm", "own", "adapter"])
def test_parametrised_weights_become_plain_weights(kind: str) -> None:
    fused = weld(_parametrised(kind), noise(2, 4, 8, 7), also=[(noise(1, 4, 5, 6),)])
    assert (fused.report.after.convs, fused.report.after.linears, fused.report.after.norms) == (1, 1, 0)
    assert fused.report.after.operators == 4 + ("flatten" in fused.module.code)
    assert len(list(fused.module.parameters())) == 4


def test_the_old_weight_norm_hook_too() -> None:
    with pytest.warns(FutureWarning):
        conv = nn.utils.weight_norm(nn.Conv2d(4, 6, 3))
    fused = weld(nn.Sequential(conv, nn.BatchNorm2d(6)), noise(2, 4, 8, 7))
    assert (fused.report.after.operators, fused.report.after.norms) == (1, 0)


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


def test_weight_standardisation_is_done_once() -> None:
    fused = weld(nn.Sequential(Standardised(4, 6, 3), nn.BatchNorm2d(6)), noise(2, 4, 8, 7))
    assert fused.report.after.operators == 1


class Grid(nn.Module):
    """A grid of positions that is the same for all inputs, run through layers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shift = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(2, 6, 1)
        self.register_buffer("grid", noise(1, 2, 7, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + torch.relu(self.shift(self.grid)))


def test_a_subgraph_of_constants_is_folded() -> None:
    fused = weld(Grid(), noise(2, 4, 7, 5), also=[(noise(3, 4, 7, 5),)])
    assert fused.report.after.convs == 1


def test_a_constant_output_and_an_unused_input() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(noise(3, 2))

        def forward(self, x: Tensor, unused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.weight, self.weight.exp() + torch.eye(3, 2, dtype=self.weight.dtype), x * 2

    weld(Constant(), noise(2, 3), noise(4))


def test_a_parameter_at_the_top_of_the_model() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(noise(5, 4, 3, 3))
            self.bias = nn.Parameter(noise(5))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight, self.bias) * self.bias.view(-1, 1, 1)

    fused = weld(Scaled(), noise(2, 4, 7, 6))
    assert fused.report.after.operators == 1


@pytest.mark.parametrize("name", ["identity", "relu", "softmax", "empty"])
def test_models_without_anything_to_weld(name: str) -> None:
    models = {"identity": nn.Identity(), "relu": nn.ReLU(), "softmax": nn.Softmax(1), "empty": nn.Sequential()}
    fused = weld(models[name], noise(2, 4, 7, 6), also=[(noise(1, 4, 3, 3),)])
    assert fused.report.rewrites == ()
    assert fused.report.after.parameters == 0


class Prefixed(nn.Module):
    """Modules that hold parameters of their own beside children, so one path is the folder of another."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.block.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.block.inner.norm = nn.BatchNorm2d(4)
        self.block.scale = nn.Parameter(noise(4, 1, 1))
        self.block_1 = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.block(x) * self.block.scale)
        y = torch.relu(self.block.inner.norm(self.block.inner(y)) + x * self.block.scale)
        return torch.relu(self.block.inner.norm(y)) + torch.sigmoid(self.block_1(self.block(y)))


def test_paths_that_are_folders_of_others() -> None:
    fused = weld(Prefixed(), noise(2, 4, 7, 6), also=[(noise(1, 4, 5, 5),)])
    names = list(fused.module.state_dict())
    assert len(set(names)) == len(names)
    assert {"block.weight", "block_1.weight"} <= set(names)


def test_constants_are_computed_without_touching_the_model() -> None:
    model = _parametrised("spectral norm").eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tw.fuse(model, noise(2, 4, 8, 7, dtype=torch.float32))
    assert_unmodified(model, before)


class Named(nn.Module):
    """Names that a graph module, or any module, has for something else."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.graph, self.meta = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)
        self.register_buffer("table", torch.arange(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.graph(self.code(x)).relu().mean((2, 3))
        return self.meta(y) * self.table.to(x.dtype)


def test_names_that_modules_have_for_something_else() -> None:
    fused = weld(Named(), noise(2, 3, 6, 7))
    assert set(fused.destinations) >= {"code.weight", "graph.running_mean", "meta.bias", "table"}
    state = fused.module.state_dict()
    assert all(key in state for keys in fused.destinations.values() for key in keys)
