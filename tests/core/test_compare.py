"""Relative error and its bound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld.core import accuracy_bound, relative_error

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@given(st.integers(0, 10**6), st.floats(1e-12, 1e6))
def test_it_is_the_norm_of_the_difference_over_the_norm_of_the_expected(seed, size):
    generator = torch.Generator().manual_seed(seed)
    expected = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    direction = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    actual = expected + size * direction * expected.norm() / direction.norm()
    assert relative_error(actual, expected) == pytest.approx(size, rel=1e-3, abs=1e-15)


def test_it_is_measured_against_the_second():
    small, large = torch.tensor([1.0]), torch.tensor([4.0])
    assert relative_error(small, large) == 0.75
    assert relative_error(large, small) == 3.0


def test_nothing_is_lost_before_the_subtraction():
    expected = torch.tensor([1.0, 2.0], dtype=torch.float64)
    error = relative_error(expected.float() * (1 + 2**-20), expected)
    assert error == pytest.approx(2**-20, rel=1e-3)
    tiny = torch.full((4,), 1e-30)  # squares underflow in float32
    assert relative_error(2 * tiny, tiny) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex64, torch.int64, torch.bool])
def test_equal_is_zero_in_every_dtype(dtype):
    values = torch.tensor([0.0, 1.0, 3.0]).to(dtype)
    assert relative_error(values, values.clone()) == 0.0
    assert relative_error(values, torch.tensor([0.0, 0.0, 1.0]).to(dtype)) > 0.1


def test_the_imaginary_part_counts():
    assert relative_error(torch.tensor([1 + 1j]), torch.tensor([1 + 0j])) == pytest.approx(1.0)


def test_shapes_that_differ_are_infinitely_far_apart():
    assert relative_error(torch.ones(2, 1), torch.ones(2)) == math.inf
    assert relative_error(torch.ones(1), torch.ones(3)) == math.inf


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_the_same_infinity_or_nan_in_one_place_agrees(value):
    assert relative_error(torch.tensor([1.0, value]), torch.tensor([1.0, value])) == 0.0
    assert relative_error(torch.tensor([1.5, value]), torch.tensor([1.0, value])) == 0.5


@pytest.mark.parametrize(
    ("actual", "expected"), [(INF, 1.0), (1.0, INF), (NAN, 1.0), (1.0, NAN), (INF, -INF), (NAN, INF), (-INF, NAN)]
)
def test_any_other_pair_is_infinitely_far_apart(actual, expected):
    assert relative_error(torch.tensor([1.0, actual]), torch.tensor([1.0, expected])) == math.inf


def test_against_nothing_at_all():
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0.0
    assert relative_error(torch.full((3,), 1e-30), torch.zeros(3)) == math.inf
    assert relative_error(torch.zeros(0, 3), torch.zeros(0, 3)) == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bound_follows_the_native_error_down_to_some_roundings(dtype):
    eps = torch.finfo(dtype).eps
    floor = accuracy_bound(dtype, 0.0)
    assert floor == (1e-10 if dtype is torch.float64 else (64 if dtype is torch.float32 else 16) * eps)
    assert accuracy_bound(dtype, floor / 8) == floor
    assert accuracy_bound(dtype, floor) == 4 * floor
