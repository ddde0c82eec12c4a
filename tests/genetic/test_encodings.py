"""Encodings: bits that round-trip exactly, mixed genes that stay what they are, bounds that cannot be used refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld.core import InputError
from torchweld.genetic import Category, Integer, Options, Real, encoding_of, ga


@given(
    st.lists(
        st.tuples(st.floats(-1e4, 1e4), st.floats(1, 1e6), st.integers(1, 30)),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**31),
)
def test_every_pattern_of_bits_comes_back_from_its_numbers(spans: list[tuple[float, float, int]], seed: int) -> None:
    bounds = [(low, low + width) for low, width, _ in spans]
    precision = [(high - low) / 2**bits for (low, high), (_, _, bits) in zip(bounds, spans, strict=True)]
    code = encoding_of(bounds, "binary", precision=precision)
    bits = code.random(40, torch.Generator().manual_seed(seed))
    bits[0], bits[1] = 0, 1
    numbers = code.decode(bits)
    assert torch.equal(code.encode(numbers), bits)
    assert torch.equal(code.decode(code.encode(numbers)), numbers)
    assert numbers[0].tolist() == [low for low, _ in bounds]
    assert numbers[1].tolist() == [high for _, high in bounds]


@given(st.floats(-100, 100), st.floats(0.5, 100), st.floats(1e-6, 0.1), st.integers(0, 2**31))
def test_numbers_come_back_within_half_the_precision(low: float, width: float, step: float, seed: int) -> None:
    code = encoding_of([(low, low + width)], "binary", precision=step)
    u = torch.rand(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    numbers = low + u * ((low + width) - low)
    assert (code.decode(code.encode(numbers)) - numbers).abs().max() <= step / 2 * (1 + 1e-6)


@pytest.mark.parametrize(("span", "bits", "gaot"), [(8, 4, 3), (7, 3, 3), (9, 4, 4), (1024, 11, 10)])
def test_bits_meet_the_precision_at_powers_of_two_outside_compat(span: int, bits: int, gaot: int) -> None:
    mine = encoding_of([(0, span)], "binary", precision=1)
    theirs = encoding_of([(0, span)], "binary", precision=1, compat="gaot")
    assert (mine.low.numel(), theirs.low.numel()) == (bits, gaot)
    assert span / (2**bits - 1) <= 1
    assert gaot == bits or span / (2**gaot - 1) > 1  # the quirk: coarser than asked for


def test_the_most_significant_bit_comes_first_and_gaot_rounds_down() -> None:
    code, gaot = (encoding_of([(0, 7)], "binary", precision=1, compat=c) for c in (None, "gaot"))
    number = torch.tensor([[4.0], [2.6]])
    assert code.encode(number).tolist() == [[1, 0, 0], [0, 1, 1]]
    assert gaot.encode(number).tolist() == [[1, 0, 0], [0, 1, 0]]


MIXED = {
    "rate": Real(1e-4, 1.0, log=True),
    "width": Integer(3, 70, log=True),
    "depth": Integer(-2, 2),
    "kind": Category(("none", "unit", "connection")),
    "scale": (0.5, 1.5),
}


def test_mixed_genes_are_drawn_evenly_on_their_own_scale() -> None:
    code = encoding_of(MIXED)
    solutions = code.decode(code.random(50_000, torch.Generator().manual_seed(0)))
    rate, width, depth, kind, scale = solutions.unbind(1)
    assert rate.log10().mean().item() == pytest.approx(-2, abs=5 * (4 / math.sqrt(12 * 50_000)))
    assert rate.min() >= 1e-4
    assert rate.max() <= 1
    assert torch.equal(width, width.round())
    assert width.min() == 3
    assert width.max() == 70
    for gene, count in ((depth + 2, 5), (kind, 3)):
        shares = torch.bincount(gene.long(), minlength=count).double() / 50_000
        assert len(shares) == count
        assert (shares - 1 / count).abs().max() < 5 * math.sqrt(1 / count / 50_000)
    assert scale.min() >= 0.5


def test_mixed_solutions_survive_encoding_and_carry_their_names() -> None:
    code = encoding_of(MIXED)
    solutions = code.decode(code.random(200, torch.Generator().manual_seed(1)))
    torch.testing.assert_close(code.decode(code.encode(solutions)), solutions, rtol=1e-12, atol=1e-12)
    values = code.values(torch.tensor([0.01, 7.0, -1.0, 2.0, 0.75], dtype=torch.float64))
    assert values == {"rate": 0.01, "width": 7, "depth": -1, "kind": "connection", "scale": 0.75}


def test_categories_cross_to_a_parent_and_mutate_to_any_value() -> None:
    code = encoding_of({"kind": Category(tuple("abcde")), "x": (0, 1)})
    g = torch.Generator().manual_seed(0)
    first, second = code.random(20_000, g), code.random(20_000, g)
    mixture = torch.lerp(first, second, torch.rand(20_000, 1, generator=g, dtype=torch.float64))
    child = code.settle(mixture, first, second, g)
    assert ((child[:, 0] == first[:, 0]) | (child[:, 0] == second[:, 0])).all()
    assert torch.equal(child[:, 1], mixture[:, 1])
    moved = first + torch.tensor([1e-9, 0.0])
    drawn = code.decode(code.settle(moved, first, None, g))[:, 0].long()
    shares = torch.bincount(drawn, minlength=5).double() / 20_000
    assert (shares - 0.2).abs().max() < 5 * math.sqrt(0.2 * 0.8 / 20_000)
    assert torch.equal(code.settle(first, first, None, g), first)


def test_a_run_over_mixed_genes_finds_the_named_best() -> None:
    def evaluate(x: torch.Tensor) -> torch.Tensor:
        rate, width, depth, kind, scale = x.unbind(1)
        return -((rate.log10() + 3) ** 2) - (width - 17) ** 2 - (depth + 1) ** 2 - 5.0 * (kind != 2) - (scale - 1) ** 2

    best = ga(MIXED, evaluate, options=Options(population=80), seed=3).best
    assert (best.values["width"], best.values["depth"], best.values["kind"]) == (17, -1, "connection")
    assert best.values["rate"] == pytest.approx(1e-3, rel=0.05)
    assert best.fitness > -0.01


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([], "empty"),
        ([(1, 1)], "variable 0.*below its upper"),
        ([(0, 1), (3, 2)], "variable 1.*below its upper"),
        ([(0, math.inf)], "finite"),
        ([(0, math.nan)], "finite"),
        ([(0, 1, 2)], "expected"),
        ({"rate": "wide"}, "'rate'"),
        (torch.zeros(3, 2), "below"),
    ],
)
def test_bad_bounds_name_the_variable(bounds: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ga(bounds, lambda x: x.sum(1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(0, 1, log=True), "positive"),
        (lambda: Integer(0, 4, log=True), "at least 1"),
        (lambda: Integer(0.5, 4), "whole"),  # type: ignore[arg-type]
        (lambda: Category(("a",)), "two different"),
        (lambda: encoding_of([(0, 1)], "octal"), "unknown encoding"),
        (lambda: encoding_of([(0, 1)], "permutation"), "length"),
        (lambda: encoding_of(5, "float"), "permutation"),
        (lambda: encoding_of([(0, 1)], "binary", precision=2.0), "precision"),
        (lambda: encoding_of([(1e9, 1e9 + 1)], "binary", precision=1e-9), "finer than float64"),
        (lambda: encoding_of([(0, 1)], "binary", precision=[0.1, 0.1]), "2 precisions"),
        (lambda: encoding_of([Category(("a", "b"))], "binary"), "float"),
        (lambda: encoding_of([(1e9, 1e9 + 1)], dtype=torch.float32), "do not fit"),
        (lambda: encoding_of(4, "permutation").encode(torch.zeros(1, 4)), "permutation"),
    ],
)
def test_encodings_that_cannot_be_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
