"""Weights: what is written is read back bit for bit; what does not fit leaves the model as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from torchweld.core import InputError
from torchweld.deploy import load_weights, save_weights


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight


@pytest.mark.parametrize(
    "make",
    [lambda: nn.Sequential(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(4)), Tied],  # type: ignore[call-overload]
)
def test_weights_come_back_bit_for_bit(make, tmp_path: Path) -> None:
    saved, loaded = make(), make()
    save_weights(saved, tmp_path / "w.safetensors")
    load_weights(loaded, tmp_path / "w.safetensors")
    for name, value in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_misfit_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    save_weights(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)), tmp_path / "w.safetensors")
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 6))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"'1\.weight' is 5x4 there and 6x4 in the model"):
        load_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
