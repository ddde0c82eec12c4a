"""The traps that automatic differentiation falls into, each with the answer that is right."""

from __future__ import annotations

import math
import weakref

import pytest
import torch
from torch import Tensor

from torchweld import autodiff as ad
from torchweld.core import InputError

ONE = torch.tensor(1.0, dtype=torch.float64)


def derivative(f, x: Tensor) -> Tensor:
    return ad.jvp(f, (x,), (torch.ones_like(x),))[1]


def test_perturbation_confusion() -> None:
    """D(x -> x * D(y -> x + y, 1), 1) is 1: the inner derivative must not see the outer perturbation."""
    assert derivative(lambda x: x * derivative(lambda y: x + y, ONE), ONE).item() == 1
    assert ad.grad(lambda x: x * ad.grad(lambda y: x + y)(ONE))(ONE).item() == 1
    assert derivative(lambda x: x * ad.grad(lambda y: x + y)(ONE), ONE).item() == 1
    assert ad.grad(lambda x: x * derivative(lambda y: x + y, ONE))(ONE).item() == 1


def test_nested_derivatives_of_a_product() -> None:
    """d/dx [x d/dy (x y^2) at y = 3] = d/dx 6 x^2 = 24 at x = 2."""
    x, y = torch.tensor(2.0).double(), torch.tensor(3.0).double()
    for inner in (derivative, lambda f, y: ad.grad(f)(y)):
        for outer in (derivative, lambda f, x: ad.grad(f)(x)):
            assert outer(lambda x, inner=inner: x * inner(lambda y: x * y**2, y), x).item() == 24


def test_a_constant_inner_function_has_derivative_zero() -> None:
    assert derivative(lambda x: x * derivative(lambda y: x, ONE), ONE).item() == 0
    assert ad.grad(lambda x: torch.tensor(5.0).double() + 0 * x)(ONE).item() == 0
    assert ad.vjp(lambda x: torch.tensor(5.0), ONE)[1](ONE.float())[0].item() == 0


def test_norm_squared_at_zero() -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    assert ad.grad(lambda x: x.norm() ** 2)(zero).tolist() == [0, 0, 0]
    assert derivative(lambda x: x.norm() ** 2, zero).item() == 0


def test_log_at_zero_with_a_zero_tangent() -> None:
    x = torch.tensor([0.0, 2.0]).double()
    tangent = ad.jvp(torch.log, (x,), (torch.tensor([0.0, 1.0]).double(),))[1]
    assert tangent.tolist() == [0, 0.5]
    assert ad.jvp(torch.log, (x,), (torch.ones_like(x),))[1].tolist() == [math.inf, 0.5]


@pytest.mark.parametrize("dead", [torch.log, torch.sqrt, lambda x: 1 / x, lambda x: x**0.5, lambda x: x.abs() ** -1.5])
def test_where_with_an_infinite_dead_branch(dead) -> None:
    x = torch.tensor([0.0, 4.0]).double()

    def f(x: Tensor) -> Tensor:
        return torch.where(x > 1, dead(x), 3 * x).sum()

    live = ad.grad(lambda x: dead(x))(torch.tensor(4.0).double()).item()
    assert ad.grad(f)(x).tolist() == [3, live]
    assert derivative(f, x).item() == 3 + live
    hessian = ad.hessian(f)(x)
    assert hessian.isfinite().all()
    assert hessian[0].tolist() == [0, 0]


def test_adjoints_of_broadcasting_are_summed() -> None:
    a, b = torch.randn(4, 1, 3).double(), torch.randn(2, 1).double()
    for f in (torch.add, torch.mul, torch.maximum, lambda a, b: a.expand(4, 2, 3) - b, torch.atan2):
        ga, gb = ad.grad(lambda a, b, f=f: f(a, b).sin().sum(), (0, 1))(a, b)
        ta, tb = torch.func.grad(lambda a, b, f=f: f(a, b).sin().sum(), (0, 1))(a, b)
        torch.testing.assert_close(ga, ta, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(gb, tb, rtol=1e-13, atol=1e-13)


def test_gradients_accumulate_over_fan_out() -> None:
    x = torch.tensor(3.0).double()
    assert ad.grad(lambda x: x * x + x + torch.stack([x, x]).sum())(x).item() == 2 * 3 + 1 + 2

    def shared(x: Tensor) -> Tensor:
        y = x**2
        return y * y + y

    assert ad.grad(shared)(x).item() == 4 * 27 + 6


def test_forward_mode_keeps_nothing_alive() -> None:
    """Of a chain's intermediate values only the last may live on: memory does not grow with depth."""
    alive: list[weakref.ref] = []

    def chain(x: Tensor) -> Tensor:
        for _ in range(30):
            x = torch.sin(x)
            alive.append(weakref.ref(x.primal))
            assert sum(ref() is not None for ref in alive) <= 2
        return x

    ad.jvp(chain, (torch.randn(5),), (torch.randn(5),))
    alive.clear()
    kept = []

    def recorded(x: Tensor) -> Tensor:
        for _ in range(30):
            x = torch.sin(x)
            kept.append(weakref.ref(x.primal))
        return x

    value, pullback = ad.vjp(recorded, torch.randn(5))
    assert sum(ref() is not None for ref in kept) == 30
    del value, pullback
    assert sum(ref() is not None for ref in kept) == 0


def test_an_unknown_operator_is_an_error_that_names_it() -> None:
    x = torch.randn(4, 4).double()
    with pytest.raises(InputError, match="fft"):
        ad.jvp(lambda x: torch.fft.rfft(x).abs(), (x,), (x,))
    with pytest.raises(InputError, match="svdvals"):
        ad.grad(lambda x: torch.linalg.svdvals(x).sum())(x)
    with pytest.raises(InputError, match="matrix norm"):
        ad.grad(lambda x: torch.linalg.norm(x, 2))(x)
    with pytest.raises(InputError, match=r"scatter.*no derivative rule"):
        ad.grad(lambda x: x.scatter(0, torch.zeros(1, 4, dtype=torch.long), x[:1]).sum())(x)


@pytest.mark.parametrize(
    "lose", [lambda x: x.item(), float, lambda x: x.tolist(), lambda x: x.numpy(), lambda x: torch.tensor([x, x])]
)
def test_derivatives_are_never_lost_in_silence(lose) -> None:
    with pytest.raises(InputError, match=r"detach\(\)"):
        ad.grad(lambda x: x * lose(x))(ONE)


@pytest.mark.parametrize(
    "hide",
    [
        lambda x: torch.full_like(x, x),
        lambda x: torch.full((2,), x),
        lambda x: x.new_full((2,), x).sum(),
        lambda x: x.new_tensor(x),
        lambda x: torch.tensor(x),
        lambda x: torch.unique(x[None])[0],
        lambda x: x.data,
    ],
)
def test_no_way_around_the_table(hide) -> None:
    with pytest.raises(InputError, match="derivative"):
        ad.grad(lambda x: (x * hide(x)).sum())(ONE)


def test_constants_that_are_meant() -> None:
    x = torch.tensor(3.0).double()
    assert ad.grad(lambda x: x * x.detach())(x).item() == 3

    def inside(x: Tensor) -> Tensor:
        with torch.no_grad():
            y = x * x
        return y * x

    assert ad.grad(inside)(x).item() == torch.func.grad(inside)(x).item() == 9
    with torch.no_grad():
        assert ad.grad(lambda x: x**3)(x).item() == 27
    assert ad.grad(lambda x: x if bool(x > 2) else -x)(x).item() == 1


def test_in_place_writes_that_cannot_be_followed_are_refused() -> None:
    x = torch.randn(3, 4).double()

    def through_a_view(x: Tensor) -> Tensor:
        y = x * 1
        y.view(-1).add_(1)
        return y.sum()

    def into_a_plain_tensor(x: Tensor) -> Tensor:
        out = torch.zeros(3, 4).double()
        out[0] = x[0]
        return out.sum()

    with pytest.raises(InputError, match="shares memory"):
        ad.grad(through_a_view)(x)
    with pytest.raises(InputError, match="plain tensor"):
        ad.grad(into_a_plain_tensor)(x)
    with pytest.raises(InputError, match="out="):
        ad.grad(lambda x: torch.sin(x, out=torch.empty(3, 4).double()).sum())(x)


def test_inputs_that_cannot_be_differentiated() -> None:
    with pytest.raises(InputError, match="int64"):
        ad.grad(lambda x: x.sum())(torch.tensor([1, 2]))
    with pytest.raises(InputError, match="complex"):
        ad.grad(lambda x: x.abs().sum())(torch.randn(2, dtype=torch.complex64))
    with pytest.raises(InputError, match="one number"):
        ad.grad(lambda x: x)(torch.randn(2))
    with pytest.raises(InputError, match="same structure"):
        ad.jvp(torch.sin, (torch.randn(2),), (torch.randn(3),))
    with pytest.raises(InputError, match="mode"):
        ad.jacobian(torch.sin, mode="sideways")
