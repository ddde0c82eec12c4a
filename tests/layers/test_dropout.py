"""R4, R5, R8: dropout modules keep their means (tolerances from the variance), R-Drop, Add & Norm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchweld.core import InputError, relative_error
from torchweld.layers import (
    AdaptiveDropout,
    AddNorm,
    DropConnectLinear,
    Dropout,
    DropPath,
    RDrop,
    r_drop_loss,
    symmetric_divergence,
)

N = 20000
X = torch.tensor([-2.0, -0.5, 0.3, 1.0, 3.0], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


@pytest.mark.parametrize("make", [lambda: Dropout(0.3), AdaptiveDropout, lambda: AdaptiveDropout(2.0, -0.7)])
def test_unit_by_unit_the_mean_over_masks_is_the_prediction(make) -> None:
    layer = make()
    trained = layer(X.expand(N, 5))
    tolerance = 5 * trained.std(0) / math.sqrt(N)
    assert ((trained.mean(0) - layer.eval()(X)).abs() <= tolerance).all()
    assert trained.std(0).min() > 0


def test_the_adaptive_rate_falls_as_the_activation_grows() -> None:
    """R-Dropout as the notes define it, which a fixed rate or the opposite sign fails."""
    layer = AdaptiveDropout(1.5, 0.2)
    kept = (layer(X.expand(N, 5)) != 0).double().mean(0)
    expected = torch.sigmoid(1.5 * X + 0.2)
    assert ((kept - expected).abs() < 5 * (expected * (1 - expected) / N).sqrt()).all()
    assert (kept.diff() > 0).all()
    with pytest.raises(InputError, match="alpha"):
        AdaptiveDropout(-1.0)


def test_drop_path_keeps_or_drops_whole_samples() -> None:
    x = torch.randn(N, 2, 3, dtype=torch.float64)
    y = DropPath(0.2)(x)
    whole = (y / x).flatten(1)
    assert torch.allclose(whole, whole[:, :1].expand_as(whole))
    dropped = (whole[:, 0] == 0).double().mean().item()
    assert abs(dropped - 0.2) < 5 * math.sqrt(0.16 / N)
    assert torch.allclose(whole[:, 0][whole[:, 0] != 0], torch.tensor(1.25, dtype=torch.float64))
    assert DropPath(0.2).eval()(x) is x


def test_dropconnect_drops_weights_and_spares_the_bias() -> None:
    layer = DropConnectLinear(5, 4, rate=0.4).double()
    x = torch.randn(3, 5, dtype=torch.float64)
    made = torch.stack([layer(x) for _ in range(4000)])
    tolerance = 5.5 * made.std(0) / math.sqrt(len(made))
    assert ((made.mean(0) - layer.eval()(x)).abs() < tolerance).all()
    layer.train()
    assert torch.equal(layer(torch.zeros(2, 5, dtype=torch.float64)), layer.bias.expand(2, 4))


@pytest.mark.parametrize("make", [Dropout, DropPath, lambda rate: DropConnectLinear(2, 2, rate)])
@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range_is_refused(make, rate: float) -> None:
    with pytest.raises(InputError, match="probability of dropping"):
        make(rate)


def test_r_drop_is_the_papers_sum() -> None:
    a, b = torch.randn(2, 6, 4, dtype=torch.float64) * 2
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    p, q = a.softmax(-1), b.softmax(-1)
    divergence = ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)).mean() / 2
    expected = F.cross_entropy(a, labels) + F.cross_entropy(b, labels) + 0.7 * divergence
    assert relative_error(r_drop_loss(a, b, labels, 0.7), expected) < 1e-12
    assert symmetric_divergence(a, b) == symmetric_divergence(b, a) > 0
    assert symmetric_divergence(a, a) == 0
    with pytest.raises(InputError, match="weight"):
        r_drop_loss(a, b, labels, -1.0)


def test_r_drop_takes_two_masks_in_training_and_none_in_eval() -> None:
    model = nn.Sequential(nn.Linear(4, 30), nn.Dropout(0.5), nn.Linear(30, 3))
    x, labels = torch.randn(8, 4), torch.randint(0, 3, (8,))
    loss, plain = RDrop(model, 100.0), RDrop(model, 0.0)
    assert loss(x, labels) > plain(x, labels) + 0.1
    loss.eval()
    torch.testing.assert_close(loss(x, labels), 2 * F.cross_entropy(model(x), labels))


@pytest.mark.parametrize("order", ["post", "pre"])
def test_add_and_norm(order) -> None:
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    inner, reference = nn.Linear(8, 8).double(), nn.LayerNorm(8).double()
    layer = AddNorm(8, 0.5, order).double()
    nn.init.normal_(reference.weight)
    layer.norm.load_state_dict(reference.state_dict())
    expected = reference(x + inner(x)) if order == "post" else x + inner(reference(x))
    assert relative_error(layer.eval()(x, inner), expected) < 1e-12
    made = torch.stack([layer.train()(x, inner) for _ in range(50)])
    assert made.std(0).min() > 0  # dropout is on the sublayer's result
    layer.dropout.rate = 1 - 1e-9  # the sublayer all but dropped: the residual is left, never dropped
    left = layer(x, lambda z: z * 0)
    torch.testing.assert_close(left, reference(x) if order == "post" else x)


def test_add_and_norm_names_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="order"):
        AddNorm(8, order="middle")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="same shape"):
        AddNorm(8)(torch.randn(2, 3, 8), nn.Linear(8, 1))
