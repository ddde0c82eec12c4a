"""`check`: agreement where rules are right, the guilty primitive named where one is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchweld import autodiff as ad
from torchweld.core import CheckFailed, InputError


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x**2


class WrongCube(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x**2


class Scaled(torch.autograd.Function):
    """The newer form, with a second input, a constant and a forward rule of its own."""

    @staticmethod
    def forward(x, w, power):
        return x * w**power

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w, ctx.power = inputs
        ctx.save_for_backward(x, w)
        ctx.save_for_forward(x, w)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w**ctx.power, (g * x * ctx.power * w ** (ctx.power - 1)).sum(), None

    @staticmethod
    def jvp(ctx, tx, tw, _):
        x, w = ctx.saved_tensors
        total = torch.zeros_like(x)
        if tx is not None:
            total = total + tx * w**ctx.power
        if tw is not None:
            total = total + x * ctx.power * w ** (ctx.power - 1) * tw
        return total


class WrongForward(Scaled):
    @staticmethod
    def jvp(ctx, tx, tw, _):
        return -Scaled.jvp(ctx, tx, tw, _)


def test_a_right_function_of_the_users() -> None:
    x = torch.tensor([-0.7, 0.1, 0.4, -1.2])
    report = ad.check(lambda x: torch.sin(Cube.apply(torch.exp(x))), x)
    assert [p.name for p in report.primitives] == ["exp", "Cube", "sin"]
    assert report.whole.reverse < 1e-12
    assert report.whole.differences < 1e-7
    report = ad.check(lambda x, w: Scaled.apply(x, w, 3), x, torch.tensor(1.3))
    assert [p.name for p in report.primitives] == ["Scaled"]


def test_a_wrong_backward_is_named() -> None:
    with pytest.raises(CheckFailed, match=r"primitive 2 \(WrongCube"):
        ad.check(lambda x: torch.sin(WrongCube.apply(torch.exp(x))), torch.tensor([-0.7, 0.1, 0.4]))


def test_a_wrong_forward_rule_is_named() -> None:
    with pytest.raises(CheckFailed, match="WrongForward"):
        ad.check(lambda x, w: WrongForward.apply(x, w, 3), torch.randn(4), torch.tensor(1.3))


def test_the_users_backward_is_what_reverse_mode_runs() -> None:
    x = torch.randn(3).double()
    assert torch.equal(ad.grad(lambda x: WrongCube.apply(x).sum())(x), 2 * x**2)
    torch.testing.assert_close(ad.grad(lambda x: Cube.apply(x).sum())(x), 3 * x**2)
    torch.testing.assert_close(ad.hessian(lambda x: Cube.apply(x).sum())(x), torch.diag(6 * x))
    leaf = x.clone().requires_grad_()
    Cube.apply(leaf).sum().backward()  # torch's own use is as it was
    torch.testing.assert_close(leaf.grad, 3 * x**2)


class WrongSoftmaxLayer(nn.Module):
    """A module with a mistake inside, and parameters."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.inner, self.wrong = nn.Linear(4, 4), wrong

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return (WrongCube if self.wrong else Cube).apply(y).softmax(-1)


def test_modules_by_inputs_and_parameters() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    report = ad.check(WrongSoftmaxLayer(wrong=False), x)
    assert [p.name for p in report.primitives] == ["linear", "Cube", "softmax"]
    with pytest.raises(CheckFailed, match="WrongCube"):
        ad.check(WrongSoftmaxLayer(wrong=True), x)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.GELU(), nn.Dropout(0.3), nn.Flatten())
    before = {k: v.clone() for k, v in net.state_dict().items()}
    ad.check(net, torch.randn(2, 2, 4, 4))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_nothing_to_check() -> None:
    with pytest.raises(InputError, match="floating-point"):
        ad.check(lambda n: n, 3)
