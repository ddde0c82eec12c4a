"""Branches learn: each has a gradient, no two the same, and what starts apart stays apart."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion.expansion.block import Block

from .hosts import Residual, batch, lived_in

CONVS = ("conv", "reduce")


def gradients(branch: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in branch.parameters() if p.grad is not None])


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(x), y)


@pytest.mark.parametrize("block", ["rep", "asymmetric", "diverse", "wide(3)"])
@pytest.mark.parametrize("norm", ["branch", "after"])
def test_every_branch_has_a_gradient_of_its_own(block: str, norm: str) -> None:
    x, y = batch(16, 3, 12, 12), torch.arange(16) % 5
    wide = tw.expand(lived_in(Residual()), block, calibrate=x, norm=norm).train()  # type: ignore[arg-type]
    loss_of(wide, x, y).backward()
    blocks = [m for m in wide.modules() if isinstance(m, Block)]
    assert len(blocks) >= 3
    for one in blocks:
        found = {name: gradients(branch) for name, branch in one.branches.items()}
        assert all(g.norm() > 1e-6 for g in found.values())
        for a, b in combinations(found.values(), 2):
            assert a.shape != b.shape or relative_error(a, b) > 0.1


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("block", ["rep", "asymmetric", "diverse", "wide(3)"])
def test_no_kernel_is_idle_with_one_input_per_output(block: str, groups: int) -> None:
    """A 1x1 kernel of one input in front of a batch norm would be scale invariant: its gradient zero for ever."""
    channels = groups
    conv = nn.Conv2d(channels, 6, 3, padding=1, groups=groups, bias=False)
    model, x = lived_in(nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU())), batch(8, channels, 9, 9)
    wide = tw.expand(model, block, calibrate=x).train()
    (wide(x) * batch(8, 6, 9, 9, seed=4)).sum().backward()
    kernels = {n: p for n, p in wide.named_parameters() if n.split(".")[-2] in CONVS}
    assert kernels
    for name, p in kernels.items():
        assert p.grad is not None
        assert p.grad.norm() > 1e-4 * p.norm(), name


def test_copies_of_the_kernel_stay_apart_while_training() -> None:
    x, y = batch(32, 3, 12, 12), torch.arange(32) % 5
    for norm in ("branch", "after"):
        wide = tw.expand(lived_in(Residual()), "wide(3)", calibrate=x, norm=norm).train()  # type: ignore[arg-type]
        optimiser = torch.optim.SGD(wide.parameters(), lr=0.01, momentum=0.9)
        first = loss_of(wide, x, y).item()
        for _ in range(10):
            optimiser.zero_grad()
            loss = loss_of(wide, x, y)
            loss.backward()
            optimiser.step()
        assert loss.item() < 0.8 * first
        kernels = [wide.b.branches[n].conv.weight for n in ("main", "same_1", "same_2")]
        assert all(relative_error(a, b) > 0.1 for a, b in combinations(kernels, 2))
        thin = tw.collapse(wide)
        assert relative_error(thin.eval()(x), wide.eval()(x)) <= 1e-10


def test_a_frozen_convolution_gives_a_frozen_block_and_comes_back_frozen() -> None:
    model, x = lived_in(Residual()), batch(4, 3, 12, 12)
    model.a.requires_grad_(False)
    wide = tw.expand(model, "rep", calibrate=x)
    assert not any(p.requires_grad for p in wide.a.parameters())
    assert all(p.requires_grad for p in wide.b.parameters())
    thin = tw.collapse(wide)
    assert {n: p.requires_grad for n, p in thin.named_parameters()} == {
        n: p.requires_grad for n, p in model.named_parameters()
    }
