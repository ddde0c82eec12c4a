"""R9, R10: attention against a float64 oracle and torch's module, masks, and why there are positions and a sqrt(d)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torchweld.core import InputError, relative_error
from torchweld.layers import MultiHeadAttention, SinusoidalPositions, attend, draw_weights, saturation, sinusoids

INF = math.inf


def oracle(q: Tensor, k: Tensor, v: Tensor, additive: Tensor) -> Tensor:
    """Query by query, key by key, in plain Python numbers."""
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=torch.float64)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                scores = [
                    sum(float(x) * float(y) for x, y in zip(q[b, h, i], key, strict=True)) / math.sqrt(q.shape[3])
                    + float(additive[b, h, i, j])
                    for j, key in enumerate(k[b, h])
                ]
                top = max(scores)
                if top == -INF:
                    continue
                powers = [math.exp(s - top) for s in scores]
                for j, power in enumerate(powers):
                    out[b, h, i] += power / sum(powers) * v[b, h, j].double()
    return out


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("mask", ["none", "boolean", "additive", "with dead rows"])
def test_it_is_the_formula(weigh: bool, mask: str) -> None:
    q = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    k, v = torch.randn(2, 2, 3, 6, 5, dtype=torch.float64)
    seen = torch.rand(2, 3, 4, 6) > 0.4
    seen[..., 0] = True
    numbers = torch.randn(2, 3, 4, 6, dtype=torch.float64).masked_fill(~seen, -INF)
    if mask == "with dead rows":
        seen[1, 2, 3] = False
    additive = {"none": torch.zeros(2, 3, 4, 6), "additive": numbers}.get(mask)
    if additive is None:
        additive = torch.zeros(2, 3, 4, 6).masked_fill(~seen, -INF)
    given = {"none": None, "additive": numbers}.get(mask, seen)
    y, weights = attend(q, k, v, given, weigh=weigh)
    assert relative_error(y, oracle(q, k, v, additive)) < 1e-12
    if weigh:
        assert weights is not None
        assert relative_error(weights @ v, y) < 1e-12


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("weigh", [False, True])
def test_a_query_that_sees_nothing_gets_zeros_and_finite_gradients(additive: bool, weigh: bool) -> None:
    """torch's own module returns NaN here; masking with -10000 returns the mean of what is forbidden."""
    layer = MultiHeadAttention(8, 2)
    x = torch.randn(2, 3, 8, requires_grad=True)
    seen = torch.ones(2, 3, 3, dtype=torch.bool)
    seen[0, 1] = False
    mask = torch.zeros(2, 3, 3).masked_fill(~seen, -INF) if additive else seen
    y = layer.weighted(x, mask=mask)[0] if weigh else layer(x, mask=mask)
    assert torch.equal(y[0, 1], torch.zeros(8))
    assert y[1].abs().min() > 0
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_the_notes_minus_10000_leaks() -> None:
    """Mistake in the notes: scores below -10000 outside the mask make the forbidden key win."""
    q = torch.full((1, 1, 1, 1), 200.0)
    k = torch.tensor([-100.0, 1.0]).view(1, 1, 2, 1)
    v = torch.tensor([1.0, 7.0]).view(1, 1, 2, 1)
    allowed = torch.tensor([[True, False]])
    mistaken = (q @ k.mT).masked_fill(~allowed, -10000.0).softmax(-1) @ v
    assert mistaken.item() == 7
    assert attend(q, k, v, allowed)[0].item() == 1


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torchs_module_with_the_same_weights(bias: bool) -> None:
    theirs = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True).double().eval()
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.5)
    ours = MultiHeadAttention.of(theirs)
    assert not ours.training
    q, kv = torch.randn(2, 4, 12, dtype=torch.float64), torch.randn(2, 7, 12, dtype=torch.float64)
    hidden = torch.rand(4, 7) > 0.6
    hidden[:, 2] = False
    lengths = torch.tensor([5, 7])
    padded = torch.arange(7) >= lengths[:, None]
    for mask, theirs_mask in ((None, None), (~hidden, hidden), (torch.randn(4, 7).double(),) * 2):
        padding = (
            torch.zeros(2, 7).double().masked_fill(padded, -INF)
            if mask is not None and mask.is_floating_point()
            else padded
        )
        expected, weights = theirs(q, kv, kv, padding, attn_mask=theirs_mask, average_attn_weights=False)
        y, w = ours.weighted(q, kv, mask=mask, lengths=lengths)
        assert relative_error(y, expected) < 1e-12
        assert relative_error(w, weights) < 1e-12
        assert relative_error(ours(q, kv, mask=mask, lengths=lengths), expected) < 1e-12


def test_queries_and_keys_of_different_lengths() -> None:
    """Mistakes in the notes: the keys' length taken from the query; projections to as many features as heads."""
    layer = MultiHeadAttention(12, 3)
    for queries, keys in ((1, 9), (9, 1), (4, 6)):
        y, w = layer.weighted(torch.randn(2, queries, 12), torch.randn(2, keys, 12))
        assert y.shape == (2, queries, 12)
        assert w.shape == (2, 3, queries, keys)
    assert all(p.weight.shape == (12, 12) for p in (layer.query, layer.key, layer.value, layer.out))


def test_causal_hides_the_future_and_suits_a_cache() -> None:
    layer = MultiHeadAttention(8, 2).double()
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    whole = layer(x, causal=True)
    later = x.clone()
    later[:, 4:] += 1
    changed = layer(later, causal=True)
    assert torch.equal(changed[:, :4], whole[:, :4])
    assert (changed[:, 4:] != whole[:, 4:]).all()
    assert relative_error(layer(x[:, 4:], x, causal=True), whole[:, 4:]) < 1e-12  # the last two alone, keys cached
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    assert relative_error(layer(x, mask=mask), whole) < 1e-12


def test_order_of_keys_does_not_matter_until_positions_are_added() -> None:
    """The notes' reason for position encoding."""
    layer, positions = MultiHeadAttention(8, 2).double(), SinusoidalPositions(8).double()
    q, kv = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 7, 8, dtype=torch.float64)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert relative_error(layer(q, kv[:, order]), layer(q, kv)) < 1e-12
    assert relative_error(layer(q, positions(kv[:, order])), layer(q, positions(kv))) > 1e-3


def test_without_sqrt_d_softmax_saturates_and_its_gradient_vanishes() -> None:
    widths = (4, 64, 1024)
    with_it, without = saturation(widths, True), saturation(widths, False)
    assert all(abs(s.score_std - 1) < 0.15 for s in with_it)
    assert all(abs(s.score_std / math.sqrt(s.features) - 1) < 0.15 for s in without)
    assert max(s.gradient for s in with_it) < 1.2 * min(s.gradient for s in with_it)
    assert without[0].gradient > 1.4 * without[1].gradient > 4 * without[2].gradient
    assert without[2].largest_weight > 0.95
    assert with_it[2].largest_weight < 0.3


def test_dropout_is_of_the_weights_and_only_in_training() -> None:
    layer = MultiHeadAttention(8, 2, rate=0.5).eval()
    x = torch.randn(2, 5, 8)
    assert torch.equal(layer(x), layer(x))
    assert not torch.equal(layer.train()(x), layer(x))


def test_weights_are_drawn(tmp_path: Path) -> None:
    _, weights = MultiHeadAttention(8, 2).weighted(torch.randn(1, 3, 8))
    file = tmp_path / "w.png"
    draw_weights(weights[0], str(file), keys=("a", "b", "c"))
    assert file.stat().st_size > 1000
    with pytest.raises(InputError, match="one sample"):
        draw_weights(weights, str(file))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match="heads=3"):
        MultiHeadAttention(8, 3)
    layer, x = MultiHeadAttention(8, 2), torch.randn(2, 3, 8)
    with pytest.raises(InputError, match="mask is"):
        layer(x, mask=torch.ones(3, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="value for each"):
        layer(x, x, x[:, :2])
    with pytest.raises(InputError, match="bias_kv"):
        MultiHeadAttention.of(nn.MultiheadAttention(8, 2, add_bias_kv=True))


@pytest.mark.parametrize("features", [1, 2, 5, 8])
def test_positions_are_the_formula(features: int) -> None:
    table = sinusoids(9, features)
    for t in range(9):
        for i in range(features):
            angle = t / 10000 ** ((i - i % 2) / features)
            assert abs(table[t, i].item() - (math.cos(angle) if i % 2 else math.sin(angle))) < 1e-6


def test_positions_move_with_the_module_and_continue() -> None:
    layer = SinusoidalPositions(6, longest=10)
    assert "table" not in layer.state_dict()
    x = torch.zeros(1, 10, 6)
    assert torch.equal(layer(x[:, 4:7], start=4), layer(x)[:, 4:7])
    assert layer.to("meta")(torch.zeros(1, 3, 6, device="meta")).device.type == "meta"
    with pytest.raises(InputError, match="longest=11"):
        SinusoidalPositions(6, longest=10)(x, start=1)
    with pytest.raises(InputError, match="features"):
        SinusoidalPositions(6)(torch.zeros(1, 2, 5))
