"""What TensorBoard is given, and that the other trackers are spoken to as they expect."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchweld.core import InputError
from torchweld.training import Config, resume, trackers, train
from torchweld.training.trackers import grid

from .runs import StopAt

QUICK = Config(model="branched_nano", epochs=2, warmup_epochs=0.5, threads=1, dtype="float32", channels_last=False)


def test_tensorboard_shows_inputs_losses_rate_and_weights(tmp_path: Path) -> None:
    run = train(QUICK, tmp_path, trackers(("tensorboard",), tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"histograms": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    assert tags["images"] == ["inputs"]
    assert {"epoch/train_loss", "epoch/held_out_loss", "epoch/learning_rate", "step/loss"} <= set(tags["scalars"])
    assert {f"weights/{name}" for name, _ in run.model.named_parameters()} == set(tags["histograms"])
    losses = [event.value for event in events.Scalars("epoch/train_loss")]
    assert losses == pytest.approx([record.train_loss for record in run.history])
    picture = events.Images("inputs")[0]
    assert (picture.width, picture.height) == (64, 64)  # eight by eight digits of 8x8


def test_a_resumed_run_leaves_one_curve(tmp_path: Path) -> None:
    config = replace(QUICK, epochs=3, save_steps=10)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, [*trackers(("tensorboard",), tmp_path), StopAt(30)])
    resume(tmp_path, trackers(("tensorboard",), tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    seconds = {path.name.split(".")[3] for path in (tmp_path / "tensorboard").iterdir()}
    assert len(seconds) == 2  # files opened in the same second would be read in any order
    events.Reload()
    steps = [event.step for event in events.Scalars("epoch/train_loss")]
    assert steps == sorted(set(steps))
    assert len(steps) == 3


def test_the_grid_undoes_the_normalisation() -> None:
    images = torch.rand(5, 3, 4, 6)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    normalised = (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    made = grid(normalised, mean, std)
    assert made.shape == (3, 4, 30)
    torch.testing.assert_close(made, torch.cat(list(images), 2))
    assert grid(torch.zeros(11, 1, 2, 2), (0.5,), (0.5,)).shape == (1, 4, 16)  # two rows of eight, the rest white


class Spoken:
    """Stands for a tracker's package, and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def module(self, name: str) -> ModuleType:
        module = ModuleType(name)
        for call in ("init", "start_run", "log_params", "log_metrics", "end_run"):
            setattr(module, call, lambda *a, _call=call, **k: self._hear(_call, a or k))
        return module

    def _hear(self, call: str, what: Any) -> Any:
        self.told.append((call, what))
        return SimpleNamespace(log=lambda *a, **k: self._hear("log", a[0]), finish=lambda: self._hear("finish", None))


def test_weights_and_biases_is_told_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = Spoken()
    monkeypatch.setitem(sys.modules, "wandb", spoken.module("wandb"))
    run = train(QUICK, tmp_path, trackers(("wandb",), tmp_path))
    assert [call for call, _ in spoken.told] == ["init", "log", "log", "finish"]
    assert spoken.told[0][1]["config"]["epochs"] == 2
    assert spoken.told[0][1]["resume"] == "allow"
    assert spoken.told[1][1]["train_loss"] == run.history[0].train_loss


def test_mlflow_is_told_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = Spoken()
    monkeypatch.setitem(sys.modules, "mlflow", spoken.module("mlflow"))
    run = train(QUICK, tmp_path, trackers(("mlflow",), tmp_path))
    assert [call for call, _ in spoken.told] == ["start_run", "log_params", "log_metrics", "log_metrics", "end_run"]
    assert spoken.told[3][1][0]["held_out_loss"] == run.history[1].held_out_loss


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_what_is_not_installed_is_said_before_the_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"pip install {name}"):
        trackers((name,), tmp_path)
