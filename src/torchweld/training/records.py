"""What a run leaves behind: one record an epoch, and the trained model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from torchweld.training.config import Config


@dataclass(frozen=True)
class Record:
    """One epoch, counted from 1. Losses are mean cross-entropies in nats, accuracies shares from 0 to 1.

    The training figures are means over the epoch's batches as they were learnt from; the test figures are taken in
    eval mode after it.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: `model` in eval mode, `history` by epoch, the threads it ran with."""

    config: Config
    model: nn.Module
    history: tuple[Record, ...]
    parameters: int
    threads: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All but the model, as plain dictionaries, lists, numbers and strings."""
        return {
            "config": self.config.to_dict(),
            "history": [asdict(record) for record in self.history],
            "parameters": self.parameters,
            "threads": self.threads,
            "seconds": self.seconds,
        }
