"""The borders one meets in real networks, each by name: what passes, what is refused and in which words."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchweld.core import Refusal
from torchweld.maps import ConvMap, apply, average_pool, batch_norm, compose, convolution, literal, parameter

from .oracles import assert_same, random_numbers


def conv(seed: int, kernel: int, *, stride: int = 1, padding: int = 0, biased: bool = False) -> ConvMap:
    return convolution(
        literal(random_numbers(seed, 3, 3, kernel, kernel)),
        literal(random_numbers(seed + 1, 3)) if biased else None,
        in_channels=3,
        out_channels=3,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
    )


def one_after_the_other(second: ConvMap, first: ConvMap, x: Tensor) -> Tensor:
    for a in (first, second):
        g = a.geometry.lifted(2)
        weight = a.weight_in({}).reshape(g.weight_shape)
        x = F.conv2d(x, weight, a.bias_in({}), g.stride, [p[0] for p in g.padding], g.dilation, g.groups)
    return x


def test_a_one_tap_map_passes_at_every_size_strided_too():
    second, first = conv(0, 3, padding=1), conv(2, 1, stride=2)
    made = compose(second, first)
    assert made.geometry.padding == ((2, 2), (2, 2))
    assert made.geometry.dilation == (2, 2)
    assert made.geometry.kernel == (3, 3)
    for sizes in ((1, 2), (7, 8), (9, 5)):
        x = random_numbers(4, 2, 3, *sizes)
        assert_same(apply(made, x, {}), one_after_the_other(second, first, x))


def test_two_by_two_with_stride_two_passes_at_even_sizes_alone():
    second, first = conv(0, 3, padding=1), conv(2, 2, stride=2)
    x = random_numbers(4, 2, 3, 8, 6)
    assert_same(apply(compose(second, first, (8, 6)), x, {}), one_after_the_other(second, first, x))
    with pytest.raises(Refusal, match="far border of axis 1"):
        compose(second, first, (8, 7))
    for sizes in (None, (8, None)):
        with pytest.raises(Refusal, match=r"far border of axis [01].*dynamic"):
            compose(second, first, sizes)


def test_an_ordinary_three_by_three_does_not_pass():
    with pytest.raises(Refusal, match=r"extent 3 \(stride 1, padding 1\).*near border of axis 0"):
        compose(conv(0, 3, padding=1), conv(2, 3, padding=1), (8, 8))
    x = random_numbers(4, 1, 3, 8, 8)
    unpadded = compose(conv(0, 3), conv(2, 3, padding=1))
    assert_same(apply(unpadded, x, {}), one_after_the_other(conv(0, 3), conv(2, 3, padding=1), x))
    assert unpadded.geometry.kernel == (5, 5)


def test_a_bias_before_zero_padding_would_differ_at_the_border_and_nowhere_else():
    """Batch norm before a zero-padded 3x3: folding its shift as if it were everywhere is right inside only."""
    second = conv(0, 3, padding=1)
    state = {n: random_numbers(i, 3).abs() for i, n in enumerate(("mean", "var", "gamma", "beta"))}
    mean, var, gamma, beta = map(parameter, state)
    norm = batch_norm(gamma, beta, mean, var, 1e-5, 3)
    with pytest.raises(Refusal, match="a bias before zero padding"):
        compose(second, norm, (12, 12))

    x = random_numbers(9, 1, 3, 12, 12)
    normed = F.batch_norm(x, state["mean"], state["var"], state["gamma"], state["beta"], eps=1e-5)
    right = F.conv2d(normed, second.weight_in({}), padding=1)
    weight, shift = second.weight_in({}), norm.bias_in(state)
    folded = F.conv2d(
        x, weight * norm.weight_in(state).reshape(1, 3, 1, 1), torch.einsum("oihw,i->o", weight, shift), padding=1
    )
    error = (folded - right).abs().amax((0, 1))
    assert error[1:-1, 1:-1].max() < 1e-12
    ring = torch.cat([error[0], error[-1], error[:, 0], error[:, -1]])
    assert ring.min() > 0.1


def test_the_same_bias_passes_where_nothing_is_padded():
    second, first = conv(0, 3), conv(2, 1, biased=True)
    x = random_numbers(4, 2, 3, 6, 5)
    assert_same(apply(compose(second, first), x, {}), one_after_the_other(second, first, x))


def test_average_pooling_without_its_padding_in_the_count_is_refused():
    with pytest.raises(Refusal, match="leaves its padding out of the count"):
        average_pool(3, (3, 3), (2, 2), (1, 1), sizes=(8, 8), count_include_pad=False)
    assert average_pool(3, (3, 3), (2, 2), (0, 0), sizes=(8, 8), count_include_pad=False)


@pytest.mark.parametrize("sizes", [(7, 8), (8, 8), (None, 7)])
def test_average_pooling_in_ceil_mode_is_refused_unless_the_size_divides(sizes):
    with pytest.raises(Refusal, match="ceil_mode changes the divisor of the last window"):
        average_pool(3, (3, 3), (2, 2), (0, 0), sizes=sizes, ceil_mode=True)
    made = average_pool(3, (3, 3), (2, 2), (0, 0), sizes=(7, 9), ceil_mode=True)
    x = random_numbers(0, 1, 3, 7, 9)
    assert_same(apply(made, x, {}), F.avg_pool2d(x, 3, 2, ceil_mode=True))


def test_ceil_mode_really_changes_the_last_window():
    x = random_numbers(0, 1, 3, 8, 8)
    real = F.avg_pool2d(x, 3, 2, ceil_mode=True)
    longer = F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2)
    assert real.shape == longer.shape
    assert (real - longer)[..., -1].abs().min() > 1e-3
    assert (real - longer)[..., :-1, :-1].abs().max() < 1e-12
