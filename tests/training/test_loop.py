"""The loop learns, repeats itself bit for bit, tells its watchers, and leaves the caller's state alone."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from torchweld import data
from torchweld.core import CheckFailed, InputError
from torchweld.data import Augmentation
from torchweld.training import Config, Progress, Record, Run, StepRecord, evaluate, recipe, train
from torchweld.training.session import Session, new_session
from torchweld.training.team import Team

QUICK = Config(model="branched_nano", epochs=2, threads=1, dtype="float32", channels_last=False, trackers=())


class Watched:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.steps: list[StepRecord] = []

    def begin(self, session: Session) -> None:
        self.calls.append(f"begin {session.config.epochs}")

    def step_done(self, session: Session, record: StepRecord) -> None:
        self.steps.append(record)

    def epoch_done(self, session: Session, record: Record) -> None:
        self.calls.append(f"epoch {record.epoch}")

    def end(self, session: Session) -> None:
        self.calls.append("end")


@pytest.fixture(scope="module")
def run() -> Run:
    return train(QUICK)


def test_it_learns(run: Run) -> None:
    first, last = run.history[0], run.history[-1]
    assert last.held_out_accuracy is not None
    assert last.held_out_accuracy > 0.8
    assert last.train_loss < first.train_loss
    assert not any(module.training for module in run.model.modules())


def test_the_recorded_figures_are_the_models_own(run: Run) -> None:
    scores = evaluate(run.model, run.splits.held_out, run.splits, batch_size=100)
    best = run.history[run.best_epoch - 1]
    assert scores.loss == pytest.approx(best.held_out_loss, rel=1e-5)
    assert scores.accuracy == best.held_out_accuracy == best.score


def test_the_same_config_gives_the_same_weights_bit_for_bit(run: Run) -> None:
    torch.manual_seed(77)  # what the caller drew before must not matter
    torch.rand(3)
    again = train(QUICK).model.state_dict()
    other = train(replace(QUICK, seed=1, epochs=1, warmup_epochs=0.5)).model.state_dict()
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(other["head.weight"], again["head.weight"])


def test_the_callers_generator_and_threads_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    before = torch.get_num_threads()
    train(replace(QUICK, epochs=1, warmup_epochs=0, threads=2))
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == before


def test_watchers_hear_everything_and_the_end_even_of_a_failed_run() -> None:
    watched = Watched()
    train(QUICK, watchers=[watched])
    assert watched.calls == ["begin 2", "epoch 1", "epoch 2", "end"]
    assert [record.step for record in watched.steps] == list(range(1, len(watched.steps) + 1))
    assert sum(record.samples for record in watched.steps) == 2 * len(data.read("digits", holdout=0.2).train)
    failed = Watched()
    with pytest.raises(CheckFailed, match="learning_rate"):
        train(replace(QUICK, learning_rate=1e20, warmup_epochs=0), watchers=[failed])
    assert failed.calls[-1] == "end"


def _session() -> Session:
    return new_session(replace(QUICK, epochs=40), Team(), None)


def _record(epoch: int) -> Record:
    return Record(epoch, 0.1, 1.0, 0.5, 1.0, 0.5, 0.5, 0.1, 100.0, 0.0)


def test_progress_off_a_terminal_is_a_few_plain_lines() -> None:
    out, session = io.StringIO(), _session()
    progress = Progress(Console(file=out))
    progress.begin(session)
    for epoch in range(1, 41):
        for step in range(23):
            progress.step_done(session, StepRecord(epoch * 23 + step, epoch, 0.1, 1.0, 0.1, 0.0, 64))
        progress.epoch_done(session, _record(epoch))
    progress.end(session)
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) <= 8
    assert lines[-1].startswith("epoch 40/40")
    assert "\x1b" not in out.getvalue()


def test_progress_on_a_terminal_is_a_bar_that_goes_away() -> None:
    out, session = io.StringIO(), _session()
    progress = Progress(Console(file=out, force_terminal=True, width=140))
    progress.begin(session)
    progress.step_done(session, StepRecord(1, 1, 0.1, 1.25, 0.5, 0.1, 64))
    progress.end(session)
    assert "loss 1.250" in out.getvalue()
    assert "128 samples/s" in out.getvalue()
    assert "waiting 20%" in out.getvalue()


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_accumulated_parts_give_the_gradient_of_the_whole_batch(parts: int) -> None:
    """Of a network without batch norm; parts of unequal size, weighted classes and smoothing included."""
    config = replace(QUICK, model="plain_cnn", epochs=1, warmup_epochs=0, learning_rate=0.02, batch_size=50,
                     class_weights="balanced", smoothing=0.1)  # fmt: skip
    whole, apart = (train(replace(config, accumulate=n)).model.state_dict() for n in (1, parts))
    fresh = new_session(config, Team(), None).model.state_dict()
    for name, value in whole.items():
        assert not torch.equal(value, fresh[name]), name
        torch.testing.assert_close(apart[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_step_counts_by_its_samples_also_where_the_last_batch_is_short() -> None:
    watched = Watched()
    run = train(replace(QUICK, batch_size=1000, epochs=1, warmup_epochs=0), watchers=[watched])
    mean = sum(r.loss * r.samples for r in watched.steps) / sum(r.samples for r in watched.steps)
    assert run.history[0].train_loss == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adam", "adagrad", "rmsprop", "mean_square_adagrad", "muon"])
def test_every_optimizer_learns(optimizer: str) -> None:
    rate = {"sgd": 0.1, "adagrad": 0.03}.get(optimizer, 0.003)
    run = train(replace(QUICK, optimizer=optimizer, learning_rate=rate, epochs=2))
    assert run.history[-1].held_out_accuracy > 0.7


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "focal"},
        {"loss": "hinge"},
        {"loss": "squared", "learning_rate": 0.3},
        {"r_drop": 0.5, "dropout": 0.2},
        {"dropout": 0.3, "dropout_kind": "adaptive"},
        {"augmentation": Augmentation(shift_pixels=1, mixup=0.2)},
        {"expand": "rep"},
        {"schedule": "restarts", "every_epochs": 1.0},
        {"dtype": "bfloat16", "channels_last": True},
        {"clip_norm": 1.0, "class_weights": "balanced", "smoothing": 0.1},
    ],
    ids=str,
)
def test_every_setting_learns(settings: dict) -> None:
    model = "plain_cnn" if "expand" in settings else "branched_nano"
    run = train(replace(QUICK, epochs=3, model=model, **settings))
    assert run.history[-1].held_out_accuracy > 0.7


def test_patience_ends_a_run_that_gets_no_better_and_the_best_epoch_is_kept() -> None:
    # With a rate of next to nothing the score stays where it is.
    run = train(replace(QUICK, epochs=20, patience=3, learning_rate=1e-12, warmup_epochs=0, ema=0.0))
    assert run.stopped is not None
    assert len(run.history) < 20
    scores = [record.score for record in run.history]
    assert run.best_epoch == scores.index(max(scores)) + 1
    assert evaluate(run.model, run.splits.held_out, run.splits).score == max(scores)


def test_the_running_mean_of_the_weights_is_what_is_judged() -> None:
    session = new_session(replace(QUICK, ema=0.9), Team(), None)
    run = train(replace(QUICK, ema=0.9))
    assert session.average is not None
    assert session.judged is session.average.module
    assert run.history[-1].held_out_accuracy == evaluate(run.model, run.splits.held_out, run.splits).accuracy


def test_freezing_keeps_weights_and_statistics(tmp_path: Path) -> None:
    first = train(QUICK, tmp_path / "first")
    tuned = train(
        replace(QUICK, init_from=str(tmp_path / "first/model.safetensors"), freeze=("stages.0.*",), seed=3, epochs=1,
                warmup_epochs=0, rates=(("head.*", 10.0),))
    )  # fmt: skip
    before, after = first.model.state_dict(), tuned.model.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("stages.0."), name


def test_a_new_head_is_fresh_and_the_rest_is_taken(tmp_path: Path) -> None:
    first = train(QUICK, tmp_path / "first")
    splits = data.read("digits")
    few = np.flatnonzero(np.asarray(splits.train.targets) < 4)
    small = replace(splits, train=splits.train.part(few), held_out=splits.train.part(few[:0]), classes=tuple("0123"))
    config = replace(QUICK, init_from=str(tmp_path / "first/checkpoints/best.safetensors"), freeze=("stages.*",),
                     epochs=1, warmup_epochs=0)  # fmt: skip
    tuned = train(config, splits=small)
    assert tuned.model.state_dict()["head.weight"].shape[0] == 4
    kept = [name for name in first.model.state_dict() if name.startswith("stages.")]
    assert all(torch.equal(first.model.state_dict()[name], tuned.model.state_dict()[name]) for name in kept)
    with pytest.raises(InputError, match="init_from"):
        train(replace(config, model="branched_tiny"), splits=small)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"freeze": ("nothing.*",)}, "freeze"),
        ({"freeze": ("*",)}, "frozen"),
        ({"rates": (("nothing.*", 2.0),)}, "rates"),
        ({"model": "no_such"}, "no_such"),
        ({"model": "mlp"}, "mlp"),
        ({"model": "unet_resnet18"}, "unet_resnet18"),
        ({"loss": "dice"}, "dice"),
        ({"init_from": "missing.safetensors"}, "missing.safetensors"),
        ({"device": "no_such"}, "device"),
        ({"sync_batch_norm": True}, "sync_batch_norm"),
    ],
)
def test_what_does_not_fit_is_named(settings: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        train(replace(QUICK, **settings))


def test_a_regression_explains_its_table() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 4)).astype(np.float32)
    y = (x @ random.normal(size=(4, 1)) + 5 + 0.01 * random.normal(size=(600, 1))).astype(np.float32)
    names = [str(i) for i in range(600)]
    scale = data.Scale(tuple(x.mean(0).tolist()), tuple(x.std(0).tolist()), (float(y.mean()),), (float(y.std()),))
    whole = data.Dataset(x, y, names)
    splits = data.Splits(whole.part(np.arange(500)), whole.part(np.arange(500, 600)), None, "regress", (), scale)
    run = train(
        replace(recipe("regress"), model="linear", learning_rate=0.05, epochs=20, threads=1, dtype="float32"),
        splits=splits,
    )
    assert run.history[-1].train_accuracy is None
    assert run.history[run.best_epoch - 1].score > 0.99


def test_the_slower_settings_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchweld.training.machine import Machine, fastest_machine

    now = [0.0]
    monkeypatch.setattr("torchweld.training.machine.time.perf_counter", lambda: now[0])

    def step(machine: Machine) -> object:
        def run() -> None:
            now[0] += 0.3 - 0.1 * (machine.dtype == "bfloat16") - 0.05 * machine.channels_last + 0.1 * machine.threads

        return run

    best = fastest_machine(Config(), step, images=True)
    assert (best.threads, best.dtype, best.channels_last) == (1, "bfloat16", True)
    fixed = fastest_machine(Config(dtype="float32", channels_last=False, threads=1), step, images=True)
    assert (fixed.threads, fixed.dtype, fixed.channels_last) == (1, "float32", False)


def test_dropout_draws_anew_at_each_step_and_the_same_on_repetition() -> None:
    drawn: list[torch.Tensor] = []
    session = _session()
    for step in (0, 1, 0):
        session.step = step
        session.seed_step()
        drawn.append(nn.functional.dropout(torch.ones(1000), 0.5))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
