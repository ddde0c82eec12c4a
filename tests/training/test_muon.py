"""Muon's step: torch's own on matrices, of even length along all directions, the same in every memory format."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchweld.training import Muon
from torchweld.training.muon import orthogonal


@given(st.integers(2, 24), st.integers(2, 40), st.integers(0, 1000), st.floats(-4, 15))
@settings(max_examples=60, deadline=None)
def test_singular_values_become_nearly_equal_and_directions_stay(o: int, i: int, seed: int, power: float) -> None:
    random = torch.Generator().manual_seed(seed)
    u, v = (torch.linalg.qr(torch.randn(n, min(o, i), generator=random))[0] for n in (o, i))
    values = torch.empty(min(o, i)).uniform_(0.1, 1, generator=random)
    matrix = (u * values) @ v.mT * 10**power
    update = orthogonal(matrix)
    assert update.dtype == matrix.dtype
    inner = u.mT @ update @ v  # diagonal, but for what bfloat16 rounds
    assert ((inner.diagonal() > 0.6) & (inner.diagonal() < 1.3)).all()
    assert (inner - inner.diagonal().diag()).abs().max() < 0.1
    assert (orthogonal(matrix.mT).mT - update).abs().max() < 0.1


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_of_one_row_or_column_it_is_exact_and_of_nothing_nothing(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape)
    torch.testing.assert_close(orthogonal(matrix), matrix / matrix.norm())
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (6, 6)])
def test_on_matrices_it_is_torchs(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    mine = Muon([ours], lr=0.02, momentum=0.9, weight_decay=0.1)
    torchs = torch.optim.Muon([theirs], lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        torchs.step()
    # Theirs scales the gradient, ours does not: bfloat16 rounds them differently, by 1/256 in each of five iterations.
    moved = (theirs - start).detach()
    assert (ours - theirs).detach().norm() < 0.02 * moved.norm()
    assert moved.norm() > 0.1


def test_a_vector_steps_along_its_momentum() -> None:
    x = torch.tensor([1.0, 1.0], requires_grad=True)
    optimizer = Muon([x], lr=0.5, momentum=0.5)
    x.grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    torch.testing.assert_close(x.detach(), 1 - 0.5 * 0.2 * 2**0.5 * torch.tensor([0.6, 0.8]))
    before = x.detach().clone()
    x.grad = torch.tensor([0.0, -4.0])  # momentum (1.5, -2), ahead of it (0.75, -5)
    optimizer.step()
    along = torch.tensor([0.75, -5.0])
    torch.testing.assert_close(x.detach(), before - 0.5 * 0.2 * 2**0.5 * along / along.norm())


def test_kernels_are_matrices_in_every_memory_format() -> None:
    torch.manual_seed(0)
    kernel, gradients = torch.randn(6, 4, 3, 3), torch.randn(3, 6, 4, 3, 3)
    matrix = kernel.flatten(1).clone().requires_grad_()
    last = kernel.clone(memory_format=torch.channels_last).requires_grad_()
    optimizers = Muon([matrix], weight_decay=0.1), Muon([last], weight_decay=0.1)
    for gradient in gradients:
        matrix.grad, last.grad = gradient.flatten(1), gradient.contiguous(memory_format=torch.channels_last)
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(last.detach().flatten(1), matrix.detach())
    assert last.is_contiguous(memory_format=torch.channels_last)
    idle = torch.ones(3, requires_grad=True)
    assert Muon([idle]).step(lambda: 7.0) == 7.0
    assert torch.equal(idle.detach(), torch.ones(3))
