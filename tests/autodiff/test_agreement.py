"""Our two interpreters against `torch.func` in float64: every operator, broadcasting, higher derivatives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchweld import autodiff as ad
from torchweld.autodiff.operators import OPERATORS, PRIMITIVES
from torchweld.autodiff.tape import Tape

from . import operator_cases as cases

EXACT = 1e-12


def assert_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    ours, theirs = ours.detach(), theirs.detach()
    assert ours.shape == theirs.shape, f"{what}: shape {tuple(ours.shape)} for {tuple(theirs.shape)}"
    assert ours.dtype == theirs.dtype, what
    gap = (ours - theirs).abs().max().item() if ours.numel() else 0.0
    assert gap <= EXACT * max(1.0, theirs.abs().max().item() if theirs.numel() else 0.0), f"{what}: apart by {gap:.2e}"


def assert_agrees(f, inputs: tuple[Tensor, ...], seed: int = 0, second: bool = True) -> None:
    generator = torch.Generator().manual_seed(seed)
    tangents = tuple(torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in inputs)
    value, ours = ad.jvp(f, inputs, tangents)
    theirs_value, theirs = torch.func.jvp(f, inputs, tangents)
    assert_close(value, theirs_value, "value")
    assert_close(ours, theirs, "jvp")
    adjoint = torch.randn(value.shape, dtype=value.dtype, generator=generator)
    for position, (a, b) in enumerate(
        zip(ad.vjp(f, *inputs)[1](adjoint), torch.func.vjp(f, *inputs)[1](adjoint), strict=True)
    ):
        assert_close(a, b, f"vjp of argument {position}")
    if not second:
        return

    def scalar(*args: Tensor) -> Tensor:
        return (f(*args) * adjoint).sum() + (f(*args) ** 2).sum()

    positions = tuple(range(len(inputs)))
    mixed = torch.func.jvp(torch.func.grad(scalar, positions), inputs, tangents)[1]
    for position, (a, b) in enumerate(zip(ad.hvp(scalar, inputs, tangents)[1], mixed, strict=True)):
        assert_close(a, b, f"Hessian-vector product of argument {position}")


@settings(max_examples=6, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", cases.UNARY)
def test_unary(name: str, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 4), max_size=3).map(tuple))
    x = cases.draw(shape, cases.UNARY[name], data.draw(st.integers(0, 1000)))
    assert_agrees(getattr(torch, name, None) or getattr(torch.special, name), (x,))


@settings(max_examples=8, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", cases.BINARY)
def test_binary_with_broadcasting(name: str, data: st.DataObject) -> None:
    full = data.draw(st.lists(st.integers(1, 3), max_size=3))
    first, second = (
        tuple(
            n if keep else 1 for n, keep in zip(full, data.draw(st.tuples(*[st.booleans()] * len(full))), strict=True)
        )
        for _ in range(2)
    )
    if data.draw(st.booleans()):
        second = second[1:]
    seed = data.draw(st.integers(0, 1000))
    domains = cases.BINARY[name]
    a, b = cases.draw(first, domains[0], seed), cases.draw(second, domains[1], seed + 5000)
    assert_agrees(getattr(torch, name), (a, b), second=name not in {"remainder", "fmod"})


# torch has no forward derivative of its own fused attention, and refuses some others under its transforms
_NO_SECOND = {"attention", "attention mask"}
_FIRST_ONLY = {"bce", "huber"}  # torch adds 1e-12 to a denominator of the first's, and lacks the second's


@pytest.mark.parametrize("name", cases.CASES)
def test_operator(name: str) -> None:
    f, shapes = cases.CASES[name]
    inputs = tuple(cases.draw(s, cases.REAL, 17 + i) for i, s in enumerate(shapes))
    if name in _NO_SECOND:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            assert_agrees(f, inputs)
    else:
        assert_agrees(f, inputs, second=name not in _FIRST_ONLY)


def test_where_torch_rounds_to_float32() -> None:
    """torch's own hardsigmoid' is float32's 1/6, and celu' takes float32's 1/alpha; ours are exact."""
    x = torch.tensor([-5.0, -1.3, 0.4, 4.0], dtype=torch.float64)
    one = torch.ones_like(x)
    slope = torch.tensor([0, 1 / 6, 1 / 6, 0], dtype=torch.float64)
    assert_close(ad.jvp(torch.nn.functional.hardsigmoid, (x,), (one,))[1], slope, "hardsigmoid")
    assert_close(ad.vjp(torch.nn.functional.hardsigmoid, x)[1](one)[0], slope, "hardsigmoid")
    celu = torch.where(x > 0, one, torch.exp(x / 0.7))
    assert_close(ad.jvp(lambda x: torch.nn.functional.celu(x, 0.7), (x,), (one,))[1], celu, "celu")


def test_every_primitive_is_exercised() -> None:
    """Each row of the table is reached by the cases above, its forward and its reverse rule alike."""
    seen: set[str] = {"strong_product"}

    def note(f, inputs: tuple[Tensor, ...]) -> None:
        tape = Tape()
        f(*(tape.input(x) for x in inputs))
        seen.update(node.row.name for node in tape.nodes if node.row is not None)

        def gradient(*args: Tensor) -> Tensor:  # the rules of adjoints: recorded while reverse mode runs
            out, back = ad.vjp(f, *args)
            return back(torch.ones_like(out))[0]

        tape = Tape()
        gradient(*(tape.input(x) for x in inputs))
        seen.update(node.row.name for node in tape.nodes if node.row is not None)

    for name, domain in cases.UNARY.items():
        note(getattr(torch, name, None) or getattr(torch.special, name), (cases.draw((2,), domain, 1),))
    for name, (a, b) in cases.BINARY.items():
        note(getattr(torch, name), (cases.draw((2,), a, 1), cases.draw((2,), b, 2)))
    note(torch.nn.functional.hardsigmoid, (cases.draw((2,), cases.REAL, 1),))
    for f, shapes in cases.CASES.values():
        note(f, tuple(cases.draw(s, cases.REAL, 17 + i) for i, s in enumerate(shapes)))
    assert {row.name for row in PRIMITIVES} - seen == set()
    assert len(OPERATORS) > 200


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_jacobian_in_every_mode(mode: str) -> None:
    x = cases.draw((2, 3), cases.REAL, 3)

    def f(x: Tensor) -> Tensor:
        return torch.einsum("ij,kj->ik", x.sin(), x) * x.prod()

    assert_close(ad.jacobian(f, mode=mode)(x), torch.func.jacrev(f)(x), "jacobian")


def test_hessian_and_third_derivative() -> None:
    x = cases.draw((4,), cases.POSITIVE, 3)

    def f(x: Tensor) -> Tensor:
        return (x.log() * x.roll(1) ** 2).sum() / x.norm()

    assert_close(ad.hessian(f)(x), torch.func.hessian(f)(x), "hessian")
    third = torch.func.jacfwd(torch.func.hessian(f))(x)
    assert_close(ad.jacobian(ad.hessian(f), mode="forward")(x), third, "third derivative, forward")
    assert_close(ad.jacobian(ad.jacobian(ad.grad(f), mode="reverse"), mode="reverse")(x), third, "reverse over reverse")
