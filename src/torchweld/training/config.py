"""A training run's settings: one frozen value, checked when it is made, saved with the run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from torchweld.core import InputError
from torchweld.data import Augmentation
from torchweld.layers.views import views_of

SCHEDULES = ("cosine", "constant", "linear", "exponential", "step", "multi_step", "restarts", "triangular")


@dataclass(frozen=True)
class Config:
    """Everything that decides a run. Raises `InputError` for a value out of its range.

    Data: `data` is `digits` or a path, `test` a path that is scored once, at the end; `holdout` is the share of the
    training data on which the epoch is chosen, `holdout_by` a regular expression: samples in whose names it finds the
    same stay together. `task`, `image_size` (height, width) and `channels` are read from the data where None.

    Steps: each takes `batch_size` samples, in `accumulate` parts. After `warmup_epochs`, half of all at most,
    `schedule` goes from `learning_rate` to `final_rate_factor` times it at the last epoch; `factor`, `every_epochs` and
    `milestones` (epochs after the warm-up) belong to the schedules that step or cycle. `momentum` is Adam's beta1.
    `clip_norm`: largest norm of the gradient. `ema`: memory of the running mean of the weights, which is then what is
    judged and kept; 0 is off.

    `views` ("flip", "flip_vertical", "turn", "shift", and all that they combine to): the trained network averages its
    scores over these views of an image, at as many times the cost.

    `data_pruning`: the probability with which a sample of less than mean loss sits out an epoch (InfoBatch); no bias,
    as one that stays counts for those that do not; 0 is off.

    Fine-tuning: `init_from` is a checkpoint whose weights are taken where they fit, `freeze` name patterns of
    parameters that stay, `rates` pairs of a name pattern and a factor on the rate. `expand` puts a branched block
    (`rep`, `asymmetric`, `diverse`, `wide(n)`) in the place of every plain convolution before training.

    The machine: `threads`, `dtype` and `channels_last` are chosen by a few timed steps where None; a run repeats bit
    for bit with the same three on the same machine. `device` is `auto`, `cpu`, `cuda`, ...

    Keeping: a checkpoint after each epoch, and every `save_steps` steps where given; the last `keep` and the best stay.
    """

    model: str = "branched_tiny"
    data: str = "digits"
    test: str | None = None
    task: str | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    holdout: float = 0.2
    holdout_by: str | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    workers: int = 0

    epochs: int = 12
    batch_size: int = 64
    accumulate: int = 1
    patience: int | None = None

    loss: str = "cross_entropy"
    smoothing: float = 0.0
    class_weights: str | None = None
    r_drop: float = 0.0

    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float | None = None
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    warmup_begin_factor: float = 0.01
    final_rate_factor: float = 1e-3
    factor: float = 0.1
    every_epochs: float = 10.0
    milestones: tuple[float, ...] = ()
    ema: float = 0.0
    data_pruning: float = 0.0

    views: tuple[str, ...] = ()
    dropout: float | None = None
    dropout_kind: str = "inverted"
    init_from: str | None = None
    freeze: tuple[str, ...] = ()
    rates: tuple[tuple[str, float], ...] = ()
    expand: str | None = None

    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    dtype: str | None = None
    channels_last: bool | None = None
    compile: bool = False
    sync_batch_norm: bool = False

    save_steps: int | None = None
    keep: int = 2
    trackers: tuple[str, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        rates = ("learning_rate", "every_epochs", "factor", "warmup_begin_factor", "final_rate_factor")
        positive = ("epochs", "batch_size", "accumulate", "keep", *rates)
        optional = ("patience", "clip_norm", "threads", "save_steps", "channels")
        for name in (*positive, *(name for name in optional if getattr(self, name) is not None)):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise InputError(f"{name}={getattr(self, name)} must be positive")
        for name in ("warmup_epochs", "weight_decay", "seed", "workers", "r_drop"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise InputError(f"{name}={getattr(self, name)} must not be negative")
        for name in ("momentum", "ema", "data_pruning", "smoothing", "holdout", "dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise InputError(f"{name}={value} must be at least 0 and less than 1")
        if self.accumulate > self.batch_size:
            raise InputError(f"accumulate={self.accumulate} parts of a batch of {self.batch_size} leave some empty")
        if self.data_pruning and self.augmentation.mixes:
            raise InputError("data_pruning goes by each sample's own loss, and mixup and cutmix blend samples; "
                             "leave one of them out")  # fmt: skip
        self._check_names()

    def _check_names(self) -> None:
        known = {
            "loss": ("cross_entropy", "focal", "hinge", "squared", "dice", "cross_entropy_dice"),
            "optimizer": ("sgd", "adamw", "adam", "adagrad", "rmsprop", "mean_square_adagrad", "muon"),
            "schedule": SCHEDULES,
            "task": (None, "classify", "segment", "regress"),
            "class_weights": (None, "balanced"),
            "dtype": (None, "float32", "bfloat16"),
            "dropout_kind": ("inverted", "adaptive"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"{name}={getattr(self, name)!r} is unknown; known are {', '.join(v for v in values if v)}"
                )
        views_of(self.views)
        for tracker in self.trackers:
            if tracker not in ("tensorboard", "wandb", "mlflow"):
                raise InputError(f"trackers: {tracker!r} is unknown; known are tensorboard, wandb, mlflow")

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, the augmentation's nested."""
        return asdict(self)
