"""Geometry: one writing for one map, sizes as the operators give them, and a line a person can read."""

from __future__ import annotations

import pytest

from torchweld.maps import Geometry, average_pool, convolution, identity, pad, parameter, scale


def square(**how) -> Geometry:
    plain = {"kernel": (3, 3), "stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1)}
    return Geometry(4, 6, **(plain | how))


def test_a_plain_tap_has_rank_0():
    assert square(kernel=(1, 1), dilation=(2, 3), padding_mode="reflect").canonical() == Geometry(4, 6)
    assert square(kernel=(1, 1), groups=2).canonical() == Geometry(4, 6, 2)


@pytest.mark.parametrize(
    "kept", [{"stride": (1, 2)}, {"padding": ((0, 1), (0, 0))}, {"kernel": (1, 3)}, {"transposed": True}]
)
def test_what_is_not_plain_keeps_its_rank(kept):
    given = square(**({"kernel": (1, 1), "output_padding": (0, 0)} | kept))
    assert given.canonical().rank == 2
    assert not given.canonical().pointwise


def test_dilation_of_one_tap_and_the_mode_of_no_padding_are_not_written():
    given = square(kernel=(1, 3), dilation=(4, 2), padding_mode="circular")
    assert given.canonical() == square(kernel=(1, 3), dilation=(1, 2))
    padded = square(padding=((0, 0), (1, 0)), padding_mode="circular")
    assert padded.canonical() == padded


def test_lifting_is_undone_by_the_simplest_writing():
    flat = Geometry(4, 6, 2)
    assert flat.lifted(0) is flat
    assert flat.lifted(3).kernel == (1, 1, 1)
    assert flat.lifted(3).canonical() == flat
    assert square().lifted(2) == square()


@pytest.mark.parametrize("n", range(5, 12))
def test_sizes_known_and_unknown(n):
    shape = square(stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(2, 1))
    assert shape.output_sizes((n, None)) == ((n + 1 - 5) // 2 + 1, None)
    assert shape.output_sizes((None, n)) == (None, n + 2 - 3 + 1)
    assert Geometry(4, 6).output_sizes((n, None)) == (n, None)


def test_what_it_says_of_itself():
    assert square().extent == (3, 3)
    assert square(dilation=(2, 5)).extent == (5, 11)
    assert square().taps == 9
    assert square(groups=2).weight_shape == (6, 2, 3, 3)
    assert Geometry(4, 4, 4).per_channel
    assert not Geometry(4, 8, 4).per_channel
    assert identity(3).geometry.pointwise
    assert not square(padding=((0, 0), (0, 1))).pointwise


@pytest.mark.parametrize(
    ("geometry", "line"),
    [
        (Geometry(4, 6), "1x1 4->6"),
        (Geometry(4, 6, 2), "1x1 4->6, groups 2"),
        (scale(parameter("s"), None, 4).geometry, "per-channel scale 4->4"),
        (square(), "3x3 4->6"),
        (square(stride=(2, 2), dilation=(1, 3)), "3x3 4->6, stride 2x2, dilation 1x3"),
        (square(padding=((1, 1), (0, 2)), padding_mode="reflect"), "3x3 4->6, reflect padding 1x(0,2)"),
        (average_pool(2, (3,), (2,), (1,), sizes=(8,)).geometry, "3 2->2, groups 2, stride 2, zeros padding 1"),
        (square(transposed=True, output_padding=(0, 0)), "3x3 transposed 4->6"),
    ],
)
def test_it_reads_as_a_line(geometry, line):
    assert str(geometry) == line


def test_factories_take_padding_as_a_number_or_as_near_and_far():
    how = {"in_channels": 1, "out_channels": 1, "kernel": (3, 3)}
    made = convolution(parameter("w"), None, padding=(1, (0, 2)), **how)
    assert made.geometry.padding == ((1, 1), (0, 2))
    assert pad(1, [(0, 0), (0, 0)]).geometry == Geometry(1, 1, 1)
