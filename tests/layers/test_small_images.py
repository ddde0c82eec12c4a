"""The convolution for small images is a convolution: outputs, gradients, second gradients, exported form."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from torchweld.layers import SmallImageConv2d


def gradients(conv: nn.Conv2d, x: Tensor) -> tuple[Tensor, ...]:
    """Output, and gradients of input and parameters for a gradient that is drawn."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = conv(x)
    g = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return y, *torch.autograd.grad(y, [x, *conv.parameters()], g)


@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(2, 6), st.integers(2, 6),
    st.tuples(st.integers(1, 3), st.integers(1, 3)), st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_outputs_and_gradients_are_those_of_a_convolution(
    batch: int, i: int, o: int, height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], bias: bool, last: bool,
) -> None:  # fmt: skip
    kernel = min(kernel[0], height), min(kernel[1], width)
    plain = nn.Conv2d(i, o, kernel, stride, padding, bias=bias).double()
    ours = SmallImageConv2d(i, o, kernel, stride, padding, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    layout = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(batch, i, height, width, dtype=torch.float64).to(memory_format=layout)
    for mine, theirs in zip(gradients(ours, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=1e-12)


def test_its_gradients_have_gradients() -> None:
    conv = SmallImageConv2d(2, 3, 3, padding=1).double()
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert "_Conv" in type(conv(x).grad_fn).__name__
    parameters = tuple(conv.parameters())

    def run(x: Tensor, *_: Tensor) -> Tensor:
        return conv(x)

    assert torch.autograd.gradcheck(run, (x, *parameters))
    assert torch.autograd.gradgradcheck(run, (x, *parameters))


@pytest.mark.parametrize(
    "conv",
    [
        SmallImageConv2d(4, 4, 3, padding=1, groups=2),
        SmallImageConv2d(4, 4, 3, padding=2, dilation=2),
        SmallImageConv2d(4, 4, 3, padding="same"),
        SmallImageConv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        SmallImageConv2d(4, 4, 3, padding=2),  # 5x5 come out
        SmallImageConv2d(4, 4, 3, padding=1).eval(),
    ],
    ids=str,
)
def test_elsewhere_it_is_torchs_own(conv: SmallImageConv2d) -> None:
    plain = copy.deepcopy(conv)
    plain.__class__ = nn.Conv2d
    x = torch.randn(2, 4, 3, 3)
    assert "_Conv" not in type(conv(x).grad_fn).__name__
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(gradients(conv, x), gradients(plain, x), strict=True))


def test_in_bfloat16_by_autocast_it_rounds_as_a_convolution_does() -> None:
    torch.manual_seed(0)
    ours = SmallImageConv2d(16, 16, 3, padding=1)
    plain = nn.Conv2d(16, 16, 3, padding=1)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(32, 16, 3, 3)
    exact = gradients(plain, x)
    with torch.autocast("cpu", torch.bfloat16):
        mine, theirs = gradients(ours, x), gradients(plain, x)
    for a, b, true in zip(mine, theirs, exact, strict=True):
        assert a.dtype == b.dtype
        assert (a - true).norm() < max(1.5 * (b - true).norm(), 1e-3 * true.norm())


def test_its_exported_form_is_a_plain_convolution() -> None:
    net = nn.Sequential(SmallImageConv2d(2, 3, 3, padding=1), nn.ReLU()).eval()
    x = torch.randn(4, 2, 3, 3)
    program = torch.export.export(net, (x,))
    assert "conv2d" in str(program.graph)
    torch.testing.assert_close(program.module()(x), net(x))
