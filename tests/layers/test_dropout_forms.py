"""R4: the four numpy forms; expectations exactly, over all masks, and the notes' mistakes one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from torchweld.core import InputError
from torchweld.layers import (
    dropconnect_train,
    inverted_predict,
    inverted_train,
    plain_predict,
    plain_train,
    relu_gap,
)

RATE = 0.3


def network(*widths: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(o, i)), rng.normal(size=o)) for i, o in pairwise(widths)]


LAYERS = network(4, 8, 6, 3)
X = np.random.default_rng(2).normal(size=(5, 4)) + 0.5


def all_masks(n: int) -> np.ndarray:
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1


def test_prediction_is_the_network_and_its_scaled_form() -> None:
    h1 = np.maximum(X @ LAYERS[0][0].T + LAYERS[0][1], 0)
    h2 = np.maximum(h1 @ LAYERS[1][0].T + LAYERS[1][1], 0)
    np.testing.assert_allclose(inverted_predict(X, LAYERS).scores, h2 @ LAYERS[2][0].T + LAYERS[2][1], rtol=1e-12)
    k1 = h1 * (1 - RATE)
    k2 = np.maximum(k1 @ LAYERS[1][0].T + LAYERS[1][1], 0) * (1 - RATE)
    made = plain_predict(X, LAYERS, RATE)
    np.testing.assert_allclose(made.hidden[0], k1, rtol=1e-12)
    np.testing.assert_allclose(made.hidden[1], k2, rtol=1e-12)
    np.testing.assert_allclose(made.scores, k2 @ LAYERS[2][0].T + LAYERS[2][1], rtol=1e-12)


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("inverted", [False, True])
def test_layer_by_layer_the_mean_before_the_next_relu_is_kept(layer: int, inverted: bool) -> None:
    """Exactly: every mask of the layer, weighted by its probability."""
    weight, bias = LAYERS[layer]
    h = np.abs(np.random.default_rng(3).normal(size=weight.shape[1]))
    masks = all_masks(h.size)
    chance = np.prod(np.where(masks, 1 - RATE, RATE), axis=1)
    scale = 1 / (1 - RATE) if inverted else 1.0
    trained = chance @ ((masks * h * scale) @ weight.T + bias)
    predicted = (h if inverted else h * (1 - RATE)) @ weight.T + bias
    np.testing.assert_allclose(trained, predicted, rtol=1e-12)
    np.testing.assert_array_equal(np.abs(relu_gap(h, (weight, bias), RATE)[0]) < 1e-12, True)


def test_behind_the_relu_it_cannot_be_kept() -> None:
    h = np.abs(np.random.default_rng(3).normal(size=8))
    behind = relu_gap(h, LAYERS[1], RATE)[1]
    assert (behind > -1e-12).all()
    assert behind.max() > 0.1
    with pytest.raises(InputError, match="16"):
        relu_gap(np.ones(17), (np.ones((1, 17)), np.ones(1)), RATE)


@pytest.mark.parametrize("train", [plain_train, inverted_train])
def test_the_rate_is_the_share_dropped_in_every_hidden_layer(train) -> None:
    """A rate taken for the keep probability shows at once: 5 sigma of the binomial is less than 0.02 here."""
    made = train(np.repeat(X, 4000, axis=0), LAYERS, 0.2, np.random.default_rng(4))
    assert len(made.masks) == 2
    for mask in made.masks:
        tolerance = 5 * np.sqrt(0.2 * 0.8 / mask.size)
        assert abs((mask == 0).mean() - 0.2) < tolerance
    live = made.hidden[0][made.masks[0] > 0]
    still = np.repeat(inverted_predict(X, LAYERS).hidden[0], 4000, axis=0)[made.masks[0] > 0]
    np.testing.assert_allclose(live, still / (0.8 if train is inverted_train else 1.0), rtol=1e-12)


@pytest.mark.parametrize("train", [plain_train, inverted_train, dropconnect_train])
def test_the_output_layer_is_not_masked(train) -> None:
    """Mistake in the notes: the scores are masked too. With biases of 100 a masked score would be 0."""
    layers = [*LAYERS[:-1], (LAYERS[-1][0], np.full(3, 1e3))]
    for seed in range(20):
        made = train(X, layers, 0.5, np.random.default_rng(seed))
        assert len(made.masks) == len(layers) - 1
        assert (made.scores > 500).all()


def test_the_notes_test_scaling_misses_the_mean() -> None:
    """Mistakes in the notes: scaling by the drop rate; scaling only the first layer. Seen on identity layers."""
    layers = [(np.eye(3), np.zeros(3))] * 3
    x = np.array([[1.0, 2.0, 3.0]])
    rng = np.random.default_rng(5)
    n = 20000
    trained = plain_train(np.repeat(x, n, axis=0), layers, RATE, rng).scores
    sigma = trained.std(0) / np.sqrt(n)
    off = np.abs(trained.mean(0) - plain_predict(x, layers, RATE).scores[0]) / sigma
    assert (off < 5).all()
    by_drop_rate, only_first = x[0] * RATE**2, x[0] * (1 - RATE)
    for mistaken in (by_drop_rate, only_first):
        assert (np.abs(trained.mean(0) - mistaken) / sigma > 20).all()


def test_dropconnect_masks_weights_and_keeps_the_mean() -> None:
    made = [dropconnect_train(X, LAYERS, RATE, np.random.default_rng(s)) for s in range(4000)]
    assert [m.shape for m in made[0].masks] == [w.shape for w, _ in LAYERS[:-1]]
    dropped = np.concatenate([m.masks[0].ravel() for m in made])
    assert abs((dropped == 0).mean() - RATE) < 5 * np.sqrt(RATE * (1 - RATE) / dropped.size)
    weight, bias = LAYERS[0]
    pre = np.array([X @ (weight * m.masks[0] / (1 - RATE)).T + bias for m in made])
    tolerance = 5.5 * pre.std(0) / np.sqrt(len(made))
    assert (np.abs(pre.mean(0) - (X @ weight.T + bias)) < tolerance).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="probability"):
        plain_predict(X, LAYERS, rate)
