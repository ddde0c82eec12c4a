"""Prepacked weights: the same function in every layout and dtype, never saved, and nothing where oneDNN is missing."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchweld.core import InputError, accuracy_bound, relative_error
from torchweld.fusion import fuse, prepack
from torchweld.fusion.prepack import PackedConv

ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(-0.5, 0.25),
    "leaky_relu": nn.LeakyReLU(0.3),
    "leaky_relu, as it comes": nn.LeakyReLU(),
    "hardswish": nn.Hardswish(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu, tanh": nn.GELU("tanh"),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "none": nn.Identity(),
    "not oneDNN's": nn.Softplus(),
}


class Net(nn.Module):
    """A convolution of each kind, a residual sum from either side, a linear."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.deep, self.grouped = (
            nn.Conv2d(16, 16, 3, padding=1, groups=16),
            nn.Conv2d(16, 16, 3, padding=2, dilation=2),
        )
        self.mirror = nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect", bias=False)
        self.head = nn.Linear(16, 8)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.stem(x)).abs()
        x = self.activation(x + self.deep(x)).abs()
        x = self.activation(self.grouped(x) + x).abs()
        x = (self.activation(self.mirror(x)) + self.stem.bias[:, None, None]).abs()
        return self.activation(self.head(x.mean((2, 3))))


@pytest.fixture(autouse=True)
def _whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is packed here must not depend on how busy the machine is."""
    monkeypatch.setattr(prepack, "_pays", lambda packed, plain: True)


def _fused(activation: nn.Module, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return fuse(Net(activation).eval().to(dtype), torch.randn(2, 3, 14, 18, dtype=dtype))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_the_same_function(name: str) -> None:
    fused = _fused(ACTIVATIONS[name])
    packed = fused.prepack()
    assert packed.packed >= 3
    for x in (torch.randn(2, 3, 14, 18), torch.randn(3, 3, 9, 11)):
        for laid in (x, x.to(memory_format=torch.channels_last)):
            assert relative_error(packed(laid), fused(x)) < 1e-5


def test_nothing_is_packed_that_would_be_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = _fused(nn.ReLU())
    compared: list[Tensor] = []

    def slower(packed: Any, plain: Any) -> bool:
        compared.extend((packed(), plain()))
        return False

    monkeypatch.setattr(prepack, "_pays", slower)
    packed = fused.prepack()
    x = torch.randn(2, 3, 14, 18)
    assert packed.packed == 0
    assert torch.equal(packed(x), fused(x))
    for mine, theirs in zip(compared[::2], compared[1::2], strict=True):  # the two that are timed do the same work
        assert relative_error(mine, theirs) < 1e-5
    assert len(compared) == 8


def test_activations_and_sums_are_inside_the_convolutions() -> None:
    packed = _fused(nn.ReLU()).prepack()
    left = [str(n.target) for n in packed.graph_module.graph.nodes if n.op == "call_function"]
    inside = [m.activation[0] for m in packed.graph_module.modules() if isinstance(m, PackedConv)]
    assert inside.count("relu") >= 3
    assert sum("aten.add" in target for target in left) <= 1  # the one of a vector
    assert not isinstance(packed.graph_module.get_submodule("mirror"), PackedConv)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    fused = _fused(nn.ReLU(), dtype)
    packed = fused.prepack()
    x = torch.randn(2, 3, 14, 18, dtype=dtype)
    assert relative_error(packed(x), fused(x)) < accuracy_bound(dtype, 0.0)


def test_float64_stays_as_it_was() -> None:
    fused = _fused(nn.ReLU(), torch.float64)
    packed = fused.prepack()
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    assert packed.packed == 0
    assert torch.equal(packed(x), fused(x))


def test_without_onednn_it_is_the_fused_module(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    fused = _fused(nn.ReLU())
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    packed = fused.prepack()
    x = torch.randn(1, 3, 8, 8)
    assert packed.packed == 0
    assert torch.equal(packed(x), fused(x))
    assert not [w for w in recwarn if "torchweld" in str(w.filename)]


def test_the_fused_module_is_left_as_it_was() -> None:
    fused = _fused(nn.ReLU())
    code, state = fused.module.code, copy.deepcopy(fused.module.state_dict())
    packed, x = fused.prepack(), torch.randn(1, 3, 8, 8)
    packed(x)
    assert fused.module.code == code
    assert all(torch.equal(state[key], tensor) for key, tensor in fused.module.state_dict().items())
    with torch.no_grad():
        y = fused(x).clone()
    assert relative_error(packed(x), y) < 1e-5
    assert not packed(x).requires_grad


def test_it_is_made_at_load_time_and_never_saved(tmp_path: Path) -> None:
    packed = _fused(nn.ReLU()).prepack()
    for save in (pickle.dumps, copy.deepcopy, lambda m: torch.save(m, tmp_path / "packed.pt")):
        with pytest.raises(InputError, match="not saved"):
            save(packed)
    with pytest.raises(InputError, match="prepack it again"):
        packed.double()


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(5, 6, 1)

    def forward(self, pair: dict[str, Tensor], *, shift: float) -> tuple[Tensor, Tensor]:
        total = (
            self.b(pair["y"]) + self.a(pair["x"]).tanh() if shift > 0 else self.a(pair["x"]).tanh() + self.b(pair["y"])
        )
        return total.relu(), total * shift


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_structures_in_and_out(shift: float) -> None:
    torch.manual_seed(0)
    model, pair = Many().eval(), {"x": torch.randn(1, 4, 7, 7), "y": torch.randn(1, 5, 7, 7)}
    fused = fuse(model, (pair,), {"shift": shift})
    packed = fused.prepack()
    assert packed.packed == 2
    assert not any("add" in str(n.target) for n in packed.graph_module.graph.nodes)  # it is inside, from either side
    for a, b in zip(packed(pair, shift=shift), model(pair, shift=shift), strict=True):
        assert relative_error(a, b) < 1e-5
