"""A run while it runs: what it works on, and all that changes, which is what a checkpoint keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from torchweld import data
from torchweld.core import InputError
from torchweld.data import Batches, Splits
from torchweld.training.averaging import averaged
from torchweld.training.build import Needs, build_model, set_training
from torchweld.training.checkpoint import restore_model, restore_optimizer
from torchweld.training.config import Config
from torchweld.training.data_pruning import DataPruning
from torchweld.training.losses import LOSSES
from torchweld.training.machine import Machine, fastest_machine
from torchweld.training.metrics import Scores
from torchweld.training.optimizers import build_optimizer
from torchweld.training.rate import schedule
from torchweld.training.records import Record, Run
from torchweld.training.score import class_weights, per_sample
from torchweld.training.team import Team


@dataclass(eq=False)
class Session:
    """`epoch` and `step` count what is done: the next step is `step` of `epoch`, both from 0."""

    config: Config
    splits: Splits
    team: Team
    machine: Machine
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    batches: Batches
    class_weights: Tensor | None
    folder: Path | None = None
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    right: float = 0.0
    answers: float = 0.0
    samples: float = 0.0
    seconds: float = 0.0
    history: list[Record] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    wrapped: nn.Module = field(init=False)
    stopped: str | None = None

    def __post_init__(self) -> None:
        self.rate = schedule(self.config)
        samples = len(self.splits.train)
        self.pruning = DataPruning(self.config.data_pruning, self.config.epochs, samples, self.config.seed)
        self.loss = LOSSES[self.config.loss]
        model = cast(nn.Module, torch.compile(self.model)) if self.config.compile else self.model
        self.wrapped = self.team.wrapped(model, self.machine.device, self.config.sync_batch_norm)

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated and kept: the running mean of the weights, where there is one."""
        return self.model if self.average is None else self.average.module

    @property
    def total_steps(self) -> int:
        """Steps done since the run began; an epoch that samples sit out counts as a whole one once it is done."""
        return self.epoch * self.batches.steps + self.step

    @property
    def epochs_done(self) -> float:
        """Epochs done, and the share that is done of the one that runs."""
        return self.epoch + self.step / self.batches.steps_among(self.pruning.rows)

    def seed_step(self) -> None:
        """Random numbers inside the network are a function of (seed, step, rank): a restart draws the same."""
        words = (self.config.seed, self.total_steps, self.team.rank)
        mixed = 0
        for word in words:  # splitmix64's finaliser, so that neighbours share nothing
            mixed = (mixed + word + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
            mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
            mixed ^= mixed >> 31
        torch.manual_seed(mixed)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, for `save_checkpoint`."""
        models: dict[str, Any] = {"model": self.model.state_dict()}
        if self.average is not None:
            models["average"] = self.average.state_dict()
        counts = ("epoch", "step", "loss_sum", "right", "answers", "samples", "seconds", "best_epoch")
        return {
            "models": models,
            "pruning": self.pruning.state(),
            "optimizers": {"optimizer": self.optimizer.state_dict()},
            "best": dict(self.best) if self.best_epoch else {},
            "progress": {name: getattr(self, name) for name in counts},
            "history": [asdict(record) for record in self.history],
            "config": self.config.to_dict(),
            "machine": self.machine.to_dict(),
            "data": self.splits.to_dict(),
            "versions": {"torch": torch.__version__},
        }

    def restore(self, state: dict[str, Any], source: str) -> None:
        """Takes up the state where `state()` left it. Raises `InputError` if it is of another run."""
        restore_model(self.model, state["models"]["model"], source)
        if self.average is not None:
            restore_model(self.average, state["models"].get("average", {}), source)
        restore_optimizer(self.optimizer, state["optimizers"]["optimizer"])
        self.pruning.restore(state.get("pruning", {}))
        for name, value in state["progress"].items():
            setattr(self, name, value)
        self.history = [Record(**record) for record in state["history"]]
        self.best = dict(state["best"])
        self.check_patience()

    def note(self, scores: Tensor, targets: Tensor, weights: Tensor) -> None:
        """Counts the right answers of a part of a step, each sample as often as it stands for."""
        if targets.is_floating_point():
            if self.splits.task == "regress":
                return
            targets = targets.argmax(1)  # mixed samples: the larger share counts
        right = (scores.argmax(1) == targets).double().view(len(targets), -1).sum(1)  # (B,)
        self.right += float(weights.double() @ right)
        self.answers += float(weights.double().sum()) * targets[0].numel()

    def close_epoch(self, record: Record) -> None:
        """Takes the epoch for done; its weights are the best if its score is, or if nothing is held out."""
        self.history.append(record)
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum, self.right, self.answers, self.samples = 0.0, 0.0, 0.0, 0.0
        before = self.history[self.best_epoch - 1].score if self.best_epoch else None
        if record.score is None or before is None or record.score > before:
            self.best_epoch = self.epoch
            self.best = {name: value.detach().clone() for name, value in self.judged.state_dict().items()}

    def check_patience(self) -> None:
        """Ends the run if its score has not risen for as many epochs as the config allows."""
        patience = self.config.patience
        if patience is not None and self.epoch - self.best_epoch >= patience:
            self.stopped = f"no better score in {patience} epochs"

    def take_best(self) -> None:
        """The judged network gets the weights of the best epoch, and eval mode."""
        if self.best:
            self.judged.load_state_dict(self.best)
        self.judged.eval()

    def finished(self, test: Scores | None, one_view: Scores | None) -> Run:
        """The run as its caller gets it."""
        return Run(
            self.config,
            self.judged,
            self.splits,
            tuple(self.history),
            self.best_epoch,
            test,
            one_view,
            self.machine,
            sum(p.numel() for p in self.judged.parameters()),
            self.seconds,
            self.folder,
            self.stopped,
        )


def splits_of(config: Config) -> Splits:
    """The data that a config names, read and split. Raises `InputError` that lists what is wrong with them."""
    return data.read(
        config.data,
        test=config.test,
        task=config.task,
        image_size=config.image_size,
        channels=config.channels,
        holdout=config.holdout,
        holdout_by=config.holdout_by,
        seed=config.seed,
    )


def new_session(config: Config, team: Team, folder: Path | None, splits: Splits | None = None) -> Session:
    """Data read, network built from the seed, the machine's best settings found."""
    splits = splits or splits_of(config)
    _check_task(config, splits)
    weights, needs = class_weights(config, splits), Needs.of(splits.to_dict())
    batches = _batches(config, splits, team, channels_last=False)
    first = batches.batch(0, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_model(config, needs, first.inputs)

    def trial(machine: Machine) -> Any:
        return _trial(config, needs, machine, first, weights)

    machine = team.agreed(fastest_machine(config, trial, images=first.inputs.ndim == 4))
    config = replace(config, threads=machine.threads, dtype=machine.dtype, channels_last=machine.channels_last)
    _place(model, machine)
    return Session(
        config,
        splits,
        team,
        machine,
        model,
        build_optimizer(model, config),
        averaged(model, config.ema) if config.ema else None,
        _batches(config, splits, team, machine.channels_last),
        None if weights is None else weights.to(machine.device),
        folder,
    )


def _batches(config: Config, splits: Splits, team: Team, channels_last: bool) -> Batches:
    return Batches(
        splits.train,
        splits,
        config.batch_size,
        seed=config.seed,
        augmentation=config.augmentation,
        workers=config.workers,
        rank=team.rank,
        world=team.world,
        channels_last=channels_last,
    )


def _place(model: nn.Module, machine: Machine) -> None:
    model.to(device=machine.device)
    if machine.channels_last:
        nn.Module.to(model, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _trial(config: Config, needs: Needs, machine: Machine, batch: data.Batch, weights: Tensor | None) -> Any:
    """A training step of a network like the run's, to be timed; the run's own weights are not touched."""
    with torch.random.fork_rng(devices=[]):
        model = build_model(replace(config, init_from=None, expand=None), needs)
    _place(model, machine)
    set_training(model)
    inputs, targets = batch.inputs.to(machine.device), batch.targets.to(machine.device)
    if machine.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    weights = None if weights is None else weights.to(machine.device)

    def step() -> None:
        part = slice(0, -(-len(inputs) // config.accumulate))
        losses, _ = per_sample(model, inputs[part], targets[part], LOSSES[config.loss], config, weights)
        losses.mean().backward()
        model.zero_grad(set_to_none=True)

    return step


def _check_task(config: Config, splits: Splits) -> None:
    fitting = {"regress": ("squared",), "classify": ("cross_entropy", "focal", "hinge", "squared"),
               "segment": ("cross_entropy", "focal", "dice", "cross_entropy_dice", "squared")}[splits.task]  # fmt: skip
    if config.loss not in fitting:
        raise InputError(f"loss={config.loss!r} does not fit the task {splits.task!r}; choose {', '.join(fitting)}")
    if len(splits.train) < 2:
        raise InputError(f"{config.data} has {len(splits.train)} sample to learn from; it takes two at least")
