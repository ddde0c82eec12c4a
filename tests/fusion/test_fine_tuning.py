"""A fused model trains on: gradients reach every parameter, and what is exported afterwards is what was trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion import expansion_report

from .agreement import assert_agree, noise, randomised


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.layer, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.wide(x) + self.narrow(x)))
        return self.head(self.layer(torch.relu(self.second(y)).mean((2, 3))))


def _step(model: nn.Module, x: Tensor, learning_rate: float = 0.05) -> float:
    loss = nn.functional.cross_entropy(model(x), torch.arange(len(x)) % 4)
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= learning_rate * p.grad
    return loss.item()


def test_a_trained_step_is_what_is_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = noise(8, 3, 9, 9, dtype=torch.float32)
    fused = tw.fuse(randomised(Small()), x)
    before = {name: p.detach().clone() for name, p in fused.module.named_parameters()}
    losses = [_step(fused.module, x) for _ in range(5)]
    assert losses[-1] < losses[0]
    for name, p in fused.module.named_parameters():
        assert p.grad is not None
        assert p.grad.abs().max() > 0, name
        assert not torch.equal(p, before[name]), name
    fused.save(tmp_path / "tuned.pt2")
    loaded = torch.export.load(tmp_path / "tuned.pt2").module()
    for shape in ((8, 3, 9, 9), (3, 3, 12, 7)):
        y = noise(*shape, dtype=torch.float32)
        assert relative_error(loaded(y), fused.module(y)) < 1e-6


def test_a_fine_tuned_model_fuses_again_to_itself() -> None:
    torch.manual_seed(0)
    x = noise(8, 3, 9, 9)
    fused = tw.fuse(randomised(Small()).double(), x)
    _step(fused.module, x)
    again = tw.fuse(fused.module, x)
    assert_agree(again.module, fused.module, x)
    assert again.report.after == fused.report.after


def test_an_expanded_model_that_was_trained_collapses_and_fuses_alike() -> None:
    torch.manual_seed(0)
    model, x = randomised(Small()).double(), noise(8, 3, 9, 9)
    wide = tw.expand(model, "diverse", calibrate=x).train()
    _step(wide, x)
    thin, fused = tw.collapse(wide.eval()), tw.fuse(wide, x)
    assert_agree(thin, wide, x)
    assert_agree(fused.module, wide, x)
    assert expansion_report(wide).to_dict()
    assert (fused.report.after.convs, fused.report.after.norms) == (2, 0)
