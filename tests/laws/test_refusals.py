"""Every condition of every law, by the reason that a user reads; none of them refuses its nearest neighbour."""

from __future__ import annotations

import pytest

from torchweld.core import Refusal
from torchweld.maps import (
    ConvMap,
    add,
    average_pool,
    compose,
    concat,
    convolution,
    identity,
    literal,
    pad,
    parameter,
    scale,
    transposed_convolution,
)


def conv(channels=(2, 2), kernel=(3,), biased=False, **how) -> ConvMap:
    bias = parameter("bias") if biased else None
    weight = parameter("weight")
    return convolution(weight, bias, in_channels=channels[0], out_channels=channels[1], kernel=kernel, **how)


def transposed(kernel=(3,), stride=(2,), padding=(1,), output_padding=(0,), dilation=(1,), bias=None) -> ConvMap:
    return transposed_convolution(
        parameter("weight"),
        bias,
        in_channels=2,
        out_channels=2,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
    )


ZERO = conv(padding=(1,))
REFLECT = conv(padding=(1,), padding_mode="reflect")
SHIFT = scale(literal(2.0), literal(1.0), 2)
PLAIN = scale(literal(2.0), None, 2)

COMPOSE = {  # second, first, sizes: the reason, and a neighbour that passes
    "channels": (conv((2, 2)), conv((3, 4)), None, "4 channels into a map of 2", (conv((4, 2)), conv((3, 4)), None)),
    "ranks": (conv(), conv(kernel=(3, 3)), None, "maps over 1 and 2 spatial", (conv(), conv(kernel=(3,)), None)),
    "bias before zeros": (ZERO, SHIFT, (8,), "a bias before zero padding", (ZERO, PLAIN, (8,))),
    "bias before zeros that no output reads": (
        conv(kernel=(2,), stride=(2,), padding=((0, 1),)),
        SHIFT,
        (7,),
        "a bias before zero padding",
        (conv(kernel=(2,), stride=(2,), padding=((0, 1),)), SHIFT, (8,)),
    ),
    "near, of which no tap sees the image": (
        conv(kernel=(1,), padding=((1, 0),)),
        conv(kernel=(3,)),
        (8,),
        "near border of axis 0",
        (conv(kernel=(1,), stride=(2,), padding=((0, 1),)), conv(kernel=(3,)), (7,)),
    ),
    "reflect along another axis": (
        conv(kernel=(3, 1), padding=(1, 0), padding_mode="reflect"),
        conv(kernel=(3, 1)),
        (8, 8),
        "axis 0",
        (conv(kernel=(3, 1), padding=(1, 0), padding_mode="reflect"), conv(kernel=(1, 3), stride=(1, 2)), (None, None)),
    ),
    "bias of a conv": (ZERO, conv(kernel=(), biased=True), (8,), "a bias before zero padding", (conv(), SHIFT, None)),
    "near": (ZERO, conv(padding=((1, 2),)), (8,), "near border of axis 0", (ZERO, conv(padding=((2, 2),)), (8,))),
    "far": (ZERO, conv(padding=((2, 1),)), (8,), "far border of axis 0", (ZERO, conv(padding=((2, 2),)), None)),
    "far, size known": (
        ZERO,
        conv(kernel=(2,), stride=(2,)),
        (7,),
        r"far border of axis 0.*zero$",
        (ZERO, conv(kernel=(2,), stride=(2,)), (6,)),
    ),
    "far, size dynamic": (
        ZERO,
        conv(kernel=(2,), stride=(2,)),
        (None,),
        r"far border of axis 0.*for a size that is dynamic",
        (ZERO, conv(kernel=(1,), stride=(2,)), (None,)),
    ),
    "through reflect": (REFLECT, conv(), (8,), "reflect padding after a map of extent 3", (REFLECT, SHIFT, None)),
    "reflect, strided": (
        REFLECT,
        conv(kernel=(1,), stride=(2,)),
        (8,),
        "far border of axis 0 the first map would see other places than the padding repeats$",
        (REFLECT, conv(kernel=(1,), stride=(2,)), (7,)),
    ),
    "reflect, dynamic": (
        REFLECT,
        conv(kernel=(1,), stride=(2,)),
        (None,),
        "other places than the padding repeats, for a size that is dynamic",
        (REFLECT, PLAIN, None),
    ),
    "reflect, padded": (
        REFLECT,
        pad(2, [(1, 1)]),
        (8,),
        "reflect padding after zeros",
        (conv(), pad(2, [(1, 1)]), None),
    ),
    "zeros after reflect": (ZERO, REFLECT, (8,), "zero padding after reflect padding", (conv(), REFLECT, None)),
    "transposed, kernel": (transposed(), conv(), None, "takes in 1x1 maps only", (transposed(), PLAIN, None)),
    "transposed, then kernel": (conv(), transposed(), None, "takes in 1x1 maps only", (SHIFT, transposed(), None)),
    "transposed, pad": (transposed(), pad(2, [(1, 1)]), None, "takes in 1x1 maps only", (SHIFT, transposed(), None)),
    "transposed, stride": (
        transposed(),
        conv(kernel=(1,), stride=(2,)),
        None,
        "takes in 1x1 maps only",
        (transposed(), conv(kernel=(1,)), None),
    ),
    "transposed twice": (transposed(), transposed(), None, "takes in 1x1 maps only", (PLAIN, transposed(), None)),
    "bias before transposed": (
        transposed(),
        SHIFT,
        None,
        "a bias before a transposed convolution",
        (transposed(bias=parameter("bias")), PLAIN, None),
    ),
}

ADD = {
    "channels": (conv((2, 3)), conv((2, 2)), None, "the channels differ: 2->3 and 2->2", (conv(), conv(), None)),
    "ranks": (conv(), conv(kernel=(3, 3)), None, r"maps over \d and \d spatial", (ZERO, identity(2), None)),
    "strides": (
        conv(stride=(2,)),
        conv(),
        (8,),
        r"the strides differ: \(2,\) and \(1,\)",
        (conv(stride=(2,)), conv(stride=(2,)), None),
    ),
    "padding modes": (ZERO, REFLECT, (8,), "the padding modes differ: zeros and reflect", (REFLECT, SHIFT, None)),
    "sizes": (conv(), ZERO, (8,), "the output sizes differ$", (conv(), conv(), (8,))),
    "dynamic sizes": (
        conv(stride=(2,)),
        conv(kernel=(4,), stride=(2,)),
        (None,),
        "differ for some of the dynamic sizes",
        (conv(stride=(2,)), conv(kernel=(4,), stride=(2,)), (8,)),
    ),
    "transposed": (transposed(), PLAIN, None, "transposed convolutions add only", (transposed(), transposed(), None)),
    "transposed, padding": (
        transposed(),
        transposed(padding=(0,)),
        None,
        "transposed convolutions add only",
        (transposed(padding=(0,)), transposed(padding=(0,), bias=parameter("bias")), None),
    ),
    "transposed, output padding": (
        transposed(),
        transposed(output_padding=(1,)),
        None,
        "transposed convolutions add only",
        (transposed(), transposed(), None),
    ),
}


@pytest.mark.parametrize("case", COMPOSE)
def test_compose_says_why_not(case):
    second, first, sizes, reason, neighbour = COMPOSE[case]
    with pytest.raises(Refusal, match=reason) as refusal:
        compose(second, first, sizes)
    assert refusal.value.reason == str(refusal.value)
    assert "\n" not in refusal.value.reason
    compose(*neighbour)


@pytest.mark.parametrize("case", ADD)
def test_add_says_why_not(case):
    a, b, sizes, reason, neighbour = ADD[case]
    for one, other in ((a, b), (b, a)):
        with pytest.raises(Refusal, match=reason.split(":")[0]):
            add(one, other, sizes)
    with pytest.raises(Refusal, match=reason):
        add(a, b, sizes)
    add(*neighbour)


@pytest.mark.parametrize("case", [c for c in ADD if c != "channels"])
def test_concat_refuses_what_add_does(case):
    a, b, sizes, reason, neighbour = ADD[case]
    with pytest.raises(Refusal, match=reason):
        concat(a, b, sizes)
    concat(*neighbour)


def test_concat_asks_for_one_input():
    with pytest.raises(Refusal, match="the channels differ: 2->4 and 3->4"):
        concat(conv((2, 2)), conv((3, 2)))
    concat(conv((2, 2)), conv((2, 3)))


def test_pooling_says_why_not():
    with pytest.raises(Refusal, match="leaves its padding out of the count"):
        average_pool(2, (3,), (1,), (1,), sizes=(8,), count_include_pad=False)
    with pytest.raises(Refusal, match=r"ceil_mode changes the divisor of the last window \(size 8, stride 2\)"):
        average_pool(2, (3,), (2,), (0,), sizes=(8,), ceil_mode=True)
    with pytest.raises(Refusal, match=r"ceil_mode .* \(size dynamic, stride 2\)"):
        average_pool(2, (3,), (2,), (0,), sizes=(None,), ceil_mode=True)
