"""What a run leaves behind: a record an epoch, and at its end the trained model with its scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from torchweld.data import Splits
from torchweld.training.config import Config
from torchweld.training.machine import Machine
from torchweld.training.metrics import Scores


@dataclass(frozen=True)
class Record:
    """One epoch, counted from 1. Losses as the config's loss has them, accuracies shares from 0 to 1.

    The training figures are means over the batches as they were learnt from; the held-out ones are taken in eval mode
    after it, None where nothing is held out. `score` is what the epoch is chosen by: accuracy, IoU or R2. `waiting`:
    the share of the time that the network waited for data; `kept`: the share of the samples that took part, which
    `data_pruning` lowers. The training figures then stand for all samples.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float | None
    held_out_loss: float | None
    held_out_accuracy: float | None
    score: float | None
    seconds: float
    images_per_second: float
    waiting: float
    kept: float = 1.0

    def figures(self) -> tuple[Any, ...]:
        """All that the run's seed decides: everything but the times."""
        timed = ("seconds", "images_per_second", "waiting")
        return tuple(getattr(self, f.name) for f in fields(self) if f.name not in timed)


@dataclass(frozen=True)
class StepRecord:
    """One step, counted from 1 over the whole run."""

    step: int
    epoch: int
    learning_rate: float
    loss: float
    seconds: float
    waiting_seconds: float
    samples: int


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: `model` in eval mode with the weights of the chosen epoch, `history` by epoch.

    `test_one_view`: the test's scores without averaging, where the config has `views`. `stopped`: None if all epochs
    were run, else why not.
    """

    config: Config
    model: nn.Module
    splits: Splits
    history: tuple[Record, ...]
    best_epoch: int
    test: Scores | None
    test_one_view: Scores | None
    machine: Machine
    parameters: int
    seconds: float
    folder: Path | None = None
    stopped: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All but the model and the data, as plain dictionaries, lists, numbers and strings."""
        return {
            "config": self.config.to_dict(),
            "data": self.splits.to_dict(),
            "history": [asdict(record) for record in self.history],
            "best_epoch": self.best_epoch,
            "test": None if self.test is None else self.test.to_dict(),
            "test_one_view": None if self.test_one_view is None else self.test_one_view.to_dict(),
            "machine": self.machine.to_dict(),
            "parameters": self.parameters,
            "seconds": self.seconds,
            "folder": None if self.folder is None else str(self.folder),
            "stopped": self.stopped,
        }
