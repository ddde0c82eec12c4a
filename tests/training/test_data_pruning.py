"""Samples sit out without bias, alike after a resume, in workers and in several processes, and work is saved."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchweld import data
from torchweld.core import InputError
from torchweld.data import Augmentation, Batches
from torchweld.training import Config, Record, StepRecord, resume, train
from torchweld.training.data_pruning import DataPruning
from torchweld.training.session import Session

from .runs import EVERYTHING, StopAt, assert_same, final_state

PRUNED = replace(EVERYTHING, augmentation=Augmentation(shift_pixels=1, erase=0.3), data_pruning=0.5)


@given(st.floats(0.05, 0.9), st.integers(0, 2**31), st.integers(0, 69))
@settings(max_examples=50, deadline=None)
def test_those_that_stay_stand_for_those_that_sit_out(probability: float, seed: int, epoch: int) -> None:
    losses = torch.rand(20_000, generator=torch.Generator().manual_seed(seed))
    pruning = DataPruning(probability, 80, len(losses), seed)
    pruning.note(torch.arange(len(losses)), losses)
    pruning.begin(epoch)
    hard = losses >= losses.mean()
    assert (pruning.weights[hard] == 1).all()
    easy = pruning.weights[~hard]
    assert torch.isin(easy, torch.tensor([0, 1 / (1 - probability)], dtype=torch.float32)).all()
    # A weight's variance is p / (1 - p); six standard deviations of the mean of the easy ones, about 10,000.
    assert abs(easy.mean().item() - 1) < 6 * (probability / (1 - probability) / len(easy)) ** 0.5
    assert pruning.kept == pytest.approx(len(pruning.rows) / len(losses))


def test_all_take_part_before_anything_is_known_at_the_end_and_where_it_is_off() -> None:
    pruning = DataPruning(0.5, 16, 100, seed=0)
    pruning.begin(0)
    assert pruning.kept == 1
    pruning.note(torch.arange(50), torch.rand(50))
    pruning.begin(13)
    assert pruning.kept < 1
    assert (pruning.weights[50:] == 1).all()  # never seen
    pruning.begin(14)
    assert pruning.kept == 1
    off = DataPruning(0.0, 16, 100, seed=0)
    off.note(torch.arange(100), torch.rand(100))
    off.begin(3)
    assert off.rows is None
    assert off.state() == {}


def test_nobody_sits_out_where_a_process_would_be_left_without_samples() -> None:
    splits = data.read("digits")
    batches = [Batches(splits.train, splits, 2, rank=rank, world=2) for rank in range(2)]
    assert [batches[0].reaches_all(samples) for samples in (1, 2, 3, 4)] == [False, True, False, True]
    pruning = DataPruning(0.99, 80, 100, seed=0)
    pruning.note(torch.arange(100), torch.cat((torch.zeros(99), torch.ones(1))))
    left = []
    for epoch in range(40):
        pruning.begin(epoch, batches[0].reaches_all)
        left.append(len(pruning.rows))
        sizes = [len(batch.rows) for part in batches for batch in part.epoch(epoch, among=pruning.rows)]
        assert min(sizes) == 1
        assert sum(sizes) == left[-1]
    assert 1 < min(left) < 10
    assert max(left) == 100  # some draws leave 1 or 3 samples
    assert (pruning.weights == 1).all() == (left[-1] == 100)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2])
def test_batches_among_some_rows_have_each_of_them_once(workers: int, world: int) -> None:
    splits = data.read("digits")
    among = np.arange(3, len(splits.train), 7)
    found: list[int] = []
    for rank in range(world):
        batches = Batches(splits.train, splits, 32, workers=workers, rank=rank, world=world)
        made = list(batches.epoch(2, among=among))
        assert len(made) == batches.steps_among(among) == -(-len(among) // 32)
        found += [row for batch in made for row in batch.rows.tolist()]
        rest = list(batches.epoch(2, 4, among))
        assert [b.rows.tolist() for b in rest] == [b.rows.tolist() for b in made[4:]]
    assert sorted(found) == among.tolist()
    assert found != sorted(found)


@pytest.mark.parametrize(("step", "workers"), [(15, 0), (20, 0), (20, 2)])  # an epoch of all samples has 15 steps
def test_a_stopped_run_goes_on_bit_for_bit(step: int, workers: int, tmp_path: Path) -> None:
    train(PRUNED, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(replace(PRUNED, workers=workers), tmp_path / "run", [StopAt(step)])
    run = resume(tmp_path / "run")
    state, expected = final_state(tmp_path / "run"), final_state(tmp_path / "straight")
    assert state.pop("config")["workers"] == workers
    expected.pop("config")
    assert_same(state, expected)
    assert run.history[0].kept == 1
    assert 0.5 < run.history[1].kept < 0.9
    assert run.history[2].kept < 1


class Passed:
    """Keeps how far the run was after each step."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def begin(self, session: Session) -> None: ...

    def step_done(self, session: Session, record: StepRecord) -> None:
        self.marks.append(session.epochs_done)

    def epoch_done(self, session: Session, record: Record) -> None: ...

    def end(self, session: Session) -> None: ...


def test_an_epoch_is_as_long_as_its_samples_and_the_bar_knows() -> None:
    passed = Passed()
    run = train(PRUNED, watchers=[passed])
    assert len(passed.marks) < 3 * 15
    assert all(b > a for a, b in pairwise(passed.marks))
    assert {1.0, 2.0, 3.0} <= set(passed.marks)
    assert passed.marks[-1] == 3.0
    steps = [sum(epoch < mark <= epoch + 1 for mark in passed.marks) for epoch in range(3)]
    assert steps == [math.ceil(round(record.kept * 1438) / 96) for record in run.history]


def test_figures_stand_for_all_samples(tmp_path: Path) -> None:
    """A network that no longer learns: its loss over some samples, weighted, is that over all, and not of the hard."""
    config = Config(model="plain_cnn", optimizer="adamw", epochs=4, threads=1, dtype="float32", channels_last=False)
    train(replace(config, learning_rate=0.003, trackers=()), tmp_path / "run")
    still = replace(config, learning_rate=1e-12, data_pruning=0.5, trackers=())
    everyone, some, *_ = train(replace(still, init_from=str(tmp_path / "run/model.safetensors"))).history
    assert everyone.kept == 1
    assert some.kept < 0.8
    # Six standard deviations: an easy sample's weight has variance 1, its loss is below the mean, its answer right.
    six = 6 / 1438**0.5
    assert abs(some.train_loss - everyone.train_loss) < six * everyone.train_loss
    assert abs(some.train_accuracy - everyone.train_accuracy) < six * (1 - everyone.train_accuracy)


def test_blended_samples_have_no_loss_of_their_own() -> None:
    with pytest.raises(InputError, match="leave one of them out"):
        Config(data_pruning=0.5, augmentation=Augmentation(cutmix=1.0))
    with pytest.raises(InputError, match="data_pruning=1"):
        Config(data_pruning=1.0)
