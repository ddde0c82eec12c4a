"""Recipes: functions that return a config. The command line picks one and overrides a few fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torchweld.core import InputError
from torchweld.data import Augmentation
from torchweld.training.config import Config


def digits() -> Config:
    """scikit-learn's digits: a few seconds on two cores, about 99% of the held-out ones."""
    return Config(epochs=16, augmentation=Augmentation(shift_pixels=1), dtype="float32")


def classify() -> Config:
    """Small images in classes: a branched residual network, flips and shifts, a cosine."""
    return Config(
        model="branched_small",
        epochs=30,
        batch_size=128,
        holdout=0.1,
        smoothing=0.1,
        ema=0.99,
        augmentation=Augmentation(flip=True, shift_pixels=2),
    )


def fashion() -> Config:
    """Fashion-MNIST (28x28 grey, 60,000 images): a pooled residual network, flips, shifts and erasing; six views."""
    return Config(
        model="pooled_small",
        epochs=26,
        batch_size=256,
        data_pruning=0.5,
        holdout=0.02,
        smoothing=0.1,
        ema=0.997,
        optimizer="muon",
        learning_rate=5e-3,
        weight_decay=0.1,
        augmentation=Augmentation(flip=True, shift_pixels=2, erase=0.25),
        views=("flip", "shift"),
    )


def fashion_quick() -> Config:
    """As `fashion`, in a third of its time, too short to gain by erasing or pruning."""
    quick = Augmentation(flip=True, shift_pixels=2)
    return replace(fashion(), epochs=6, data_pruning=0.0, ema=0.98, augmentation=quick)


def fashion_long() -> Config:
    """As `fashion`, with twice as many residual layers, and longer."""
    return replace(fashion(), model="pooled_medium", epochs=34)


def segment() -> Config:
    """Images with masks: a U-Net over a compact encoder, flips and colour, cross-entropy and dice."""
    return Config(
        model="unet_compact_small_s2",
        epochs=25,
        batch_size=8,
        holdout=0.1,
        loss="cross_entropy_dice",
        optimizer="muon",
        learning_rate=2e-3,
        weight_decay=0.01,
        ema=0.99,
        augmentation=Augmentation(flip=True, flip_vertical=True, brightness=0.2, contrast=0.2),
    )


def segment_long() -> Config:
    """As `segment`, for longer, with turns and changes of scale and colour, which square images allow; eight views."""
    return replace(
        segment(),
        epochs=70,
        weight_decay=0.1,
        ema=0.995,
        augmentation=Augmentation(
            flip=True,
            flip_vertical=True,
            turn=True,
            crop=(0.4, 1.0),
            border="reflect",
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
        ),
        views=("flip", "turn"),
    )


def regress() -> Config:
    """A table whose last column is the target: a multilayer perceptron, squared error."""
    return Config(
        model="mlp",
        epochs=60,
        batch_size=32,
        loss="squared",
        optimizer="adamw",
        learning_rate=3e-3,
        weight_decay=0.01,
        ema=0.99,
    )


RECIPES: dict[str, Callable[[], Config]] = {
    "digits": digits,
    "classify": classify,
    "fashion": fashion,
    "fashion_quick": fashion_quick,
    "fashion_long": fashion_long,
    "segment": segment,
    "segment_long": segment_long,
    "regress": regress,
}


def recipe(name: str) -> Config:
    """The recipe of that name. Raises `InputError` for an unknown one.

    >>> recipe("digits").epochs
    16
    """
    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}; known are {', '.join(RECIPES)}")
    return RECIPES[name]()
