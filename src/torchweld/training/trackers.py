"""Trackers: TensorBoard, and Weights & Biases and MLflow where they are installed.

TensorBoard shows a grid of the first batch as the network sees it, losses, accuracy, rate and speed by epoch and step,
and a histogram of every weight by epoch.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.training.records import Record, StepRecord
from torchweld.training.watchers import Watcher

if TYPE_CHECKING:
    from torchweld.training.session import Session

_GRID = 8  # images along a side


def trackers(names: tuple[str, ...], folder: Path) -> list[Watcher]:
    """The trackers of these names, writing into `folder`. Raises `InputError` for one that is not installed."""
    return [_KINDS[name](folder) for name in names]


class TensorBoard:
    """Event files in `folder/tensorboard`; a resumed run hides what it is about to repeat."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        _installed("torch.utils.tensorboard", "tensorboard")

    def begin(self, session: Session) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a second to import

        step = session.total_steps
        _pass_the_second(self.folder)
        self.writer: Any = SummaryWriter(str(self.folder), purge_step=step if step else None)
        batch = session.batches.batch(session.epoch, 0)
        if batch.inputs.ndim == 4:
            self.writer.add_image(
                "inputs", grid(batch.inputs, session.splits.scale.mean, session.splits.scale.std), step
            )

    def step_done(self, session: Session, record: StepRecord) -> None:
        every = max(1, session.batches.steps // 50)
        if record.step % every == 0:
            self.writer.add_scalar("step/loss", record.loss, record.step)
            self.writer.add_scalar("step/learning_rate", record.learning_rate, record.step)

    def epoch_done(self, session: Session, record: Record) -> None:
        step = session.total_steps
        for name, value in asdict(record).items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(f"epoch/{name}", value, step)
        for name, parameter in session.model.named_parameters():
            self.writer.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), step)

    def end(self, session: Session) -> None:
        if hasattr(self, "writer"):
            self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, named after the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wandb = folder, _installed("wandb", "wandb")

    def begin(self, session: Session) -> None:
        name = self.folder.name
        self.run = self.wandb.init(
            dir=str(self.folder), id=name, name=name, resume="allow", config=session.config.to_dict()
        )

    def step_done(self, session: Session, record: StepRecord) -> None: ...

    def epoch_done(self, session: Session, record: Record) -> None:
        self.run.log({k: v for k, v in asdict(record).items() if v is not None}, step=record.epoch)

    def end(self, session: Session) -> None:
        if hasattr(self, "run"):
            self.run.finish()


class MLflow:
    """A run of MLflow, named after the folder, under MLflow's own tracking address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mlflow = folder, _installed("mlflow", "mlflow")

    def begin(self, session: Session) -> None:
        self.mlflow.start_run(run_name=self.folder.name)
        self.mlflow.log_params({k: str(v)[:500] for k, v in session.config.to_dict().items()})

    def step_done(self, session: Session, record: StepRecord) -> None: ...

    def epoch_done(self, session: Session, record: Record) -> None:
        self.mlflow.log_metrics({k: v for k, v in asdict(record).items() if v is not None}, step=record.epoch)

    def end(self, session: Session) -> None:
        self.mlflow.end_run()


def grid(
    images: Tensor,  # (B, C, H, W), normalised
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Tensor:  # (3 or 1, rows * H, columns * W), from 0 to 1
    """The first 64 images as the network sees them, their normalisation undone, side by side."""
    shape = (1, -1, 1, 1)
    images = images[: _GRID * _GRID].float().cpu()
    images = (images * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)).clamp(0, 1)
    images = images[:, :3] if images.shape[1] >= 3 else images[:, :1]
    columns = min(_GRID, len(images))
    missing = -len(images) % columns
    images = torch.cat((images, images.new_ones(missing, *images.shape[1:])))
    rows = images.unflatten(0, (-1, columns))  # (R, c, C, H, W)
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def _pass_the_second(folder: Path) -> None:
    """TensorBoard reads event files by name, that is by the second they were opened in: no two share one."""
    while list(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
        time.sleep(0.05)


def _installed(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"trackers: {package} is not installed; `pip install {package}`, or leave it out") from None


_KINDS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow}
