"""A search that takes no time: a table of 60 rows, a perceptron, two epochs a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from torchweld.genetic import Category, Integer, Real
from torchweld.search import Space
from torchweld.training import Config

RATE = Space({"learning_rate": Real(1e-4, 1e-1, log=True)})
MIXED = Space(
    {
        "learning_rate": Real(1e-4, 1.0, log=True),
        "dropout": Real(0.0, 0.5),
        "batch_size": Integer(4, 64, log=True),
        "optimizer": Category(("sgd", "adamw", "adam")),
    }
)


def table(folder: Path, rows: int = 60) -> Path:
    """A table whose target is a sum of its columns, and some noise."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(rows, 3))
    targets = inputs @ [1.0, -2.0, 0.5] + 0.1 * random.normal(size=rows)
    path = folder / "table.csv"
    lines = [",".join(f"{v:.6f}" for v in (*x, y)) for x, y in zip(inputs, targets, strict=True)]
    path.write_text("a,b,c,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def config(path: Path, **changes: Any) -> Config:
    settings: dict[str, Any] = {
        "model": "mlp",
        "data": str(path),
        "task": "regress",
        "loss": "squared",
        "optimizer": "adamw",
        "learning_rate": 1e-2,
        "holdout": 0.3,
        "epochs": 2,
        "batch_size": 16,
        "warmup_epochs": 0.0,
        "threads": 1,
        "dtype": "float32",
    }
    return Config(**{**settings, **changes})


def studied(
    sampler: BaseSampler, trials: int, space: Space = MIXED, pruner: BasePruner | None = None, epochs: int = 4
) -> optuna.Study:
    """A study of a function with one hill in place of a training; as with one, pruned trials report what they had."""
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner or NopPruner())
    for _ in range(trials):
        one(study, space, epochs)
    return study


def one(study: optuna.Study, space: Space = MIXED, epochs: int = 4) -> None:
    trial = study.ask()
    values = space.suggested(trial)
    value = hill(values)
    for epoch in range(1, epochs + 1):
        trial.report(value - 1 / epoch, epoch)
        if epoch < epochs and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, value)


def hill(values: dict[str, Any]) -> float:
    away = abs(np.log10(values.get("learning_rate", 0.01)) + 2) + 2 * abs(values.get("dropout", 0.2) - 0.2)
    return float(-away - 0.1 * abs(np.log2(values.get("batch_size", 16)) - 4) - (values.get("optimizer") == "sgd"))
