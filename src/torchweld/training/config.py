"""A training run's settings, and the recipes: functions that return them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torchweld.core import InputError


@dataclass(frozen=True)
class Config:
    """Everything that decides a run. Stochastic gradient descent with Nesterov momentum, warm-up, then a cosine.

    `shift_pixels`: each image is moved at random by up to so many pixels each way, anew in every epoch.
    `threads=None` times a few steps with one thread and with all and keeps the faster; results are bitwise repeatable
    for a given number of threads. Raises `InputError` for a value out of its range.
    """

    model: str = "branched_tiny"
    data: str = "digits"
    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 0.1
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    shift_pixels: int = 0
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)} must be positive")
        for name in ("warmup_epochs", "weight_decay", "shift_pixels", "seed"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}={getattr(self, name)} must not be negative")
        if not 0 < self.momentum < 1:
            raise InputError(f"momentum={self.momentum} must lie between 0 and 1")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads={self.threads} must be positive")

    def to_dict(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)


def digits_demo() -> Config:
    """The demo's recipe: a few seconds on two cores, about 99% of the held-out digits."""
    return Config(epochs=16, shift_pixels=1)
