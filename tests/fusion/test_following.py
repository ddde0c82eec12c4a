"""A fused model follows its original: refreshed weights, staleness, and keys both ways."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from torchweld.core import InputError, relative_error
from torchweld.fusion import fuse


class Branched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(4, 4, (3, 5), padding=(1, 2), bias=False)
        self.narrow = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.register_buffer("offset", torch.randn(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.wide(x) + self.narrow(x) + x).relu()
        return self.head(y.mean((2, 3))) + self.offset + torch.tensor([1.0, 2.0, 3.0])


def drawn(seed: int) -> Branched:
    torch.manual_seed(seed)
    model = Branched().eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), model.norm.running_mean, model.offset):
            tensor.normal_()
        model.norm.running_var.uniform_(0.5, 2)
    return model


def test_refresh_welds_new_weights_into_the_same_module() -> None:
    model, other, x = drawn(0), drawn(1), torch.randn(2, 4, 9, 7)
    fused = fuse(model, x)
    before = relative_error(fused(x), other(x))
    assert before > 0.1
    module = fused.module
    fused.refresh(other)
    assert fused.module is module
    assert relative_error(fused(x), other(x)) < 1e-5


def test_stale_names_exactly_what_changed() -> None:
    model, x = drawn(0), torch.randn(2, 4, 9, 7)
    fused = fuse(model, x)
    assert fused.stale(model) == ()
    assert fused.stale(copy.deepcopy(model)) == ()
    with torch.no_grad():
        model.narrow.bias[2] += 1e-3
        model.norm.running_var[0] *= 2
    assert set(fused.stale(model)) == {"narrow.bias", "norm.running_var"}


def test_keys_map_both_ways() -> None:
    fused = fuse(drawn(0), torch.randn(2, 4, 9, 7))
    origin = fused.origins["wide.weight"]
    assert {"wide.weight", "narrow.weight", "norm.weight", "norm.running_var"} <= set(origin.sources)
    assert {"add", "compose"} <= set(origin.laws)
    assert "narrow.bias" in fused.origins["wide.bias"].sources
    assert set(fused.destinations["norm.weight"]) == {"wide.weight", "wide.bias"}
    assert set(fused.origins) == set(fused.module.state_dict())


def test_refresh_from_a_model_of_other_shapes_changes_nothing() -> None:
    fused = fuse(drawn(0), torch.randn(2, 4, 9, 7))
    before = {k: v.clone() for k, v in fused.module.state_dict().items()}
    with pytest.raises(InputError, match="the model has no '"):
        fused.refresh(nn.Conv2d(4, 4, 1))
    other = drawn(1)
    other.head = nn.Linear(4, 5)
    with pytest.raises(InputError, match=r"'head\.\w+' had shape \(3"):
        fused.refresh(other)
    assert all(torch.equal(v, before[k]) for k, v in fused.module.state_dict().items())
