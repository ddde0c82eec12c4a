"""Dropout on a ReLU network in numpy, in its four forms, and DropConnect beside them.

    plain     training: h -> m * h             prediction: h -> keep * h
    inverted  training: h -> m * h / keep      prediction: h -> h

with m of zeros and ones, `P(m = 1) = keep = 1 - rate`. `rate` is the probability that a unit is *dropped*. Every hidden
layer is masked, and in plain prediction every one of them is scaled; the output is neither. In each form the mean of
the next layer's `W h + b` over the masks is its value in prediction; the mean behind the next ReLU is larger, since
`E relu(z) >= relu(E z)`: see `relu_gap`.

Sources: Hinton et al. 2012, https://arxiv.org/abs/1207.0580; Srivastava et al. 2014; DropConnect: Wan et al. 2013.
Shapes: B batch, I features in, O features out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchweld.core import InputError

Array = NDArray[np.floating[Any]]
Layer = tuple[Array, Array]  # weight (O, I), bias (O,)


@dataclass(frozen=True)
class Pass:
    """One pass: each hidden layer after mask and scale, the masks drawn (none in prediction), the scores."""

    hidden: tuple[Array, ...]
    masks: tuple[Array, ...]
    scores: Array


def plain_train(
    x: Array,  # (B, I)
    layers: Sequence[Layer],
    rate: float,
    rng: np.random.Generator,
) -> Pass:
    """Hidden units are zeroed with probability `rate` and not rescaled. Raises `InputError` if not 0 <= rate < 1."""
    return _run(x, layers, _keep(rate), 1.0, rng)


def plain_predict(
    x: Array,  # (B, I)
    layers: Sequence[Layer],
    rate: float,
) -> Pass:
    """Every hidden layer is scaled by `1 - rate`, the share that training keeps (not by `rate`)."""
    return _run(x, layers, 1.0, _keep(rate), None)


def inverted_train(
    x: Array,  # (B, I)
    layers: Sequence[Layer],
    rate: float,
    rng: np.random.Generator,
) -> Pass:
    """Hidden units are zeroed with probability `rate`, the others divided by `1 - rate`.

    >>> layers = [(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]
    >>> inverted_train(np.array([[1.0, 2.0]]), layers, 0.5, np.random.default_rng(0)).hidden[0]
    array([[0., 4.]])
    """
    keep = _keep(rate)
    return _run(x, layers, keep, 1 / keep, rng)


def inverted_predict(
    x: Array,  # (B, I)
    layers: Sequence[Layer],
) -> Pass:
    """The network as it is: with the inverted form, prediction needs to know nothing of dropout."""
    return _run(x, layers, 1.0, 1.0, None)


def dropconnect_train(
    x: Array,  # (B, I)
    layers: Sequence[Layer],
    rate: float,
    rng: np.random.Generator,
) -> Pass:
    """DropConnect: single weights, and not units, are zeroed with probability `rate`; the others divided by the rest.

    One mask a layer for the whole batch, the output layer left whole. `masks` are of the weights' shapes. Prediction
    is `inverted_predict`.
    """
    keep = _keep(rate)
    masks = [(rng.random(w.shape) < keep).astype(w.dtype) for w, _ in layers[:-1]]
    thinned = [(w * m / keep, b) for (w, b), m in zip(layers[:-1], masks, strict=True)]
    made = _run(x, [*thinned, layers[-1]], 1.0, 1.0, None)
    return Pass(made.hidden, tuple(masks), made.scores)


def relu_gap(
    h: Array,  # (I,)
    layer: Layer,
    rate: float,
) -> tuple[Array, Array]:  # (O,), (O,)
    """How far dropout shifts the mean of the next layer before and behind its ReLU, exactly, over all 2^I masks.

    The first is zero to rounding, the second is what no scaling can mend. Raises `InputError` for more than 16 units.

    >>> before, behind = relu_gap(np.array([1.0, 2.0]), (np.array([[1.0, -1.0]]), np.zeros(1)), 0.5)
    >>> before, behind
    (array([0.]), array([0.5]))
    """
    if h.size > 16:
        raise InputError(f"{h.size} units have too many masks to enumerate; give 16 at most")
    keep = _keep(rate)
    weight, bias = layer
    masks = (np.arange(2**h.size)[:, None] >> np.arange(h.size)) & 1
    chance = np.prod(np.where(masks, keep, 1 - keep), axis=1)
    z = (masks * h / keep) @ weight.T + bias
    still = h @ weight.T + bias
    return chance @ z - still, chance @ np.maximum(z, 0) - np.maximum(still, 0)


def _keep(rate: float) -> float:
    if not 0 <= rate < 1:
        raise InputError(f"rate={rate} is the probability of dropping a unit; it must lie in [0, 1)")
    return 1 - rate


def _run(x: Array, layers: Sequence[Layer], keep: float, scale: float, rng: np.random.Generator | None) -> Pass:
    h, hidden, masks = x, [], []
    for weight, bias in layers[:-1]:
        h = np.maximum(h @ weight.T + bias, 0) * scale
        if rng is not None:
            masks.append((rng.random(h.shape) < keep).astype(h.dtype))
            h = h * masks[-1]
        hidden.append(h)
    weight, bias = layers[-1]
    return Pass(tuple(hidden), tuple(masks), h @ weight.T + bias)
