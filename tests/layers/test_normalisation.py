"""R6, R7: the written-out norms equal torch's in output, gradient and statistics, training and predicting."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from torchweld.core import InputError, relative_error
from torchweld.layers import BatchNorm1d, BatchNorm2d, LayerNorm

PAIRS = [
    (BatchNorm1d, nn.BatchNorm1d, (6, 5)),
    (BatchNorm1d, nn.BatchNorm1d, (4, 5, 7)),
    (BatchNorm2d, nn.BatchNorm2d, (3, 5, 4, 6)),
]


def skewed(*shape: int) -> torch.Tensor:
    """Channels of different mean and spread."""
    x = torch.randn(*shape, dtype=torch.float64)
    scale = torch.linspace(0.3, 4, shape[1], dtype=torch.float64).view(1, -1, *(1,) * (len(shape) - 2))
    return x * scale + scale.flip(1)


@pytest.mark.parametrize(("own", "reference", "shape"), PAIRS)
@pytest.mark.parametrize("momentum", [0.1, 0.37, None])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_torchs(own: type, reference: type, shape: tuple, momentum: float | None, affine: bool) -> None:
    ours = own(5, eps=1e-3, momentum=momentum, affine=affine).double()
    theirs = reference(5, eps=1e-3, momentum=momentum, affine=affine).double()
    if affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    for training in (True, True, True, False):
        ours.train(training)
        theirs.train(training)
        x = skewed(*shape).requires_grad_()
        y, expected = ours(x), theirs(x)
        upstream = torch.randn_like(expected)
        inputs = (x, *theirs.parameters()), (x, *ours.parameters())
        wanted = torch.autograd.grad(expected, inputs[0], upstream)
        got = torch.autograd.grad(y, inputs[1], upstream)
        assert relative_error(y, expected) < 1e-12
        for g, w in zip(got, wanted, strict=True):
            assert relative_error(g, w) < 1e-10
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=0, msg=name)


def test_without_statistics_prediction_uses_the_batch_as_torch_does() -> None:
    x = skewed(3, 5, 4, 6)
    ours, theirs = (n(5, track_running_stats=False).double().eval() for n in (BatchNorm2d, nn.BatchNorm2d))
    assert relative_error(ours(x), theirs(x)) < 1e-12
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_the_moving_variance_is_the_unbiased_one_and_the_formulas_the_biased() -> None:
    """Either mixed up is off by n / (n - 1): 20% here."""
    x = skewed(6, 5)
    norm = BatchNorm1d(5, momentum=1.0).double()
    y = norm(x)
    assert relative_error(norm.running_var, x.var(0, correction=1)) < 1e-12
    assert relative_error(y.var(0, correction=0), torch.ones(5, dtype=torch.float64)) < 1e-3


def test_prediction_does_not_look_at_the_batch() -> None:
    norm = BatchNorm1d(5).double()
    norm(skewed(6, 5))
    state = copy.deepcopy(norm.eval().state_dict())
    x = skewed(6, 5)
    torch.testing.assert_close(norm(x)[:1], norm(x[:1]))
    assert all(torch.equal(state[k], v) for k, v in norm.state_dict().items())


def test_between_affine_and_activation() -> None:
    """R6: on dense layers the norm sits before the activation, so its shift lets units be negative."""
    dense = nn.Sequential(nn.Linear(4, 50), BatchNorm1d(50), nn.ReLU())
    share = (dense(torch.randn(500, 4) * 3 + 5) > 0).double().mean().item()
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_is_torchs(shape: tuple[int, ...], affine: bool) -> None:
    over = shape[-2:]
    ours, theirs = (n(over, 1e-4, affine).double() for n in (LayerNorm, nn.LayerNorm))
    if affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    x = (torch.randn(4, *shape, dtype=torch.float64) * 3 + 1).requires_grad_()
    y, expected = ours(x), theirs(x)
    assert relative_error(y, expected) < 1e-12
    upstream = torch.randn_like(y)
    got, wanted = (torch.autograd.grad(z, x, upstream)[0] for z in (y, expected))
    assert relative_error(got, wanted) < 1e-10


def test_the_notes_layer_norm_is_another_function() -> None:
    """Mistake in the notes: division by `std + eps` with the unbiased std."""

    def mistaken(x: torch.Tensor, eps: float) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps)

    x = torch.randn(5, 4, dtype=torch.float64)
    expected = nn.LayerNorm(4, 1e-5).double()(x)
    assert relative_error(LayerNorm(4, 1e-5).double()(x), expected) < 1e-12
    assert relative_error(mistaken(x, 1e-5), expected) > 0.1
    flat = torch.full((1, 4), 3.0) + torch.tensor([0.0, 1e-4, 0.0, -1e-4])  # spread below sqrt(eps)
    assert LayerNorm(4, 1e-5)(flat).abs().max() < 0.1
    assert mistaken(flat, 1e-5).abs().max() > 1


def test_what_cannot_be_normed_is_named() -> None:
    with pytest.raises(InputError, match="one value per channel"):
        BatchNorm1d(5)(torch.randn(1, 5))
    with pytest.raises(InputError, match="5 channels"):
        BatchNorm2d(5)(torch.randn(2, 4, 3, 3))
    with pytest.raises(InputError, match="4-dimensional"):
        BatchNorm2d(5)(torch.randn(2, 5, 3))
    with pytest.raises(InputError, match="does not end so"):
        LayerNorm(5)(torch.randn(2, 4))
    with pytest.raises(InputError, match="channels=0"):
        BatchNorm1d(0)
    with pytest.raises(InputError, match="not positive"):
        LayerNorm((3, 0))
