"""The loop learns, repeats itself bit for bit, tells its watchers, and leaves the caller's state alone."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from torchweld import data
from torchweld.core import CheckFailed, InputError
from torchweld.training import Config, Progress, Record, Run, evaluate, fastest_threads, limited_threads, train
from torchweld.training.augment import shifted, shifts
from torchweld.training.config import digits_demo
from torchweld.training.order import batches
from torchweld.training.schedule import learning_rate

QUICK = Config(model="branched_nano", epochs=2, threads=1)


class Watched:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def begin(self, config: Config) -> None:
        self.calls.append(f"begin {config.epochs}")

    def epoch_done(self, record: Record) -> None:
        self.calls.append(f"epoch {record.epoch}")

    def end(self) -> None:
        self.calls.append("end")


@pytest.fixture(scope="module")
def run() -> Run:
    return train(QUICK)


def test_it_learns(run: Run) -> None:
    first, last = run.history[0], run.history[-1]
    assert last.test_accuracy > 0.8
    assert last.train_loss < first.train_loss
    assert not any(module.training for module in run.model.modules())


def test_the_recorded_figures_are_the_models_own(run: Run) -> None:
    split = data.load("digits", 0)
    assert evaluate(run.model, split.test_images, split.test_labels, batch_size=100) == pytest.approx(
        (run.history[-1].test_loss, run.history[-1].test_accuracy), rel=1e-5
    )


def test_the_same_config_gives_the_same_weights_bit_for_bit(run: Run) -> None:
    torch.manual_seed(77)  # what the caller drew before must not matter
    torch.rand(3)
    again = train(QUICK).model.state_dict()
    other = train(replace(QUICK, seed=1, epochs=1)).model.state_dict()
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(other["head.weight"], again["head.weight"])


def test_the_callers_generator_and_threads_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    before = torch.get_num_threads()
    train(replace(QUICK, epochs=1, threads=2))
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == before


def test_watchers_hear_everything_and_the_end_even_of_a_failed_run() -> None:
    watched = Watched()
    train(QUICK, [watched])
    assert watched.calls == ["begin 2", "epoch 1", "epoch 2", "end"]
    failed = Watched()
    with pytest.raises(CheckFailed, match="learning_rate"):
        train(replace(QUICK, learning_rate=1e20, warmup_epochs=0), [failed])
    assert failed.calls[-1] == "end"


def test_progress_off_a_terminal_is_a_few_plain_lines() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out))
    progress.begin(Config(epochs=40))
    for epoch in range(1, 41):
        progress.epoch_done(Record(epoch, 0.1, 1.0, 0.5, 1.0, 0.5, 0.1))
    progress.end()
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) <= 8
    assert lines[-1].startswith("epoch 40/40")
    assert "\x1b" not in out.getvalue()


def test_progress_on_a_terminal_is_a_bar_that_goes_away() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True, width=100))
    progress.begin(Config(epochs=2))
    progress.epoch_done(Record(1, 0.1, 1.0, 0.5, 1.0, 0.5, 0.1))
    progress.end()
    assert "epoch 1/2" in out.getvalue()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
        ({"shift_pixels": -1}, "shift_pixels"),
    ],
)
def test_settings_out_of_range_are_named(setting: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        Config(**setting)


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1437])
def test_batches_hold_every_sample_once_and_none_is_a_straggler(samples: int) -> None:
    plan = batches(samples, 64, seed=2, epoch=3)
    assert torch.cat(plan).sort().values.tolist() == list(range(samples))
    sizes = [len(rows) for rows in plan]
    assert max(sizes) <= 64
    assert max(sizes) - min(sizes) <= 1


def test_order_and_shifts_depend_on_seed_and_epoch_only() -> None:
    drawn = {(seed, epoch): (batches(50, 50, seed, epoch)[0], shifts(50, 2, seed, epoch)) for seed in range(2)
             for epoch in range(2)}  # fmt: skip
    orders = {tuple(order.tolist()) for order, _ in drawn.values()}
    moves = {tuple(move.flatten().tolist()) for _, move in drawn.values()}
    assert len(orders) == len(moves) == 4
    assert torch.equal(drawn[1, 1][1], shifts(50, 2, 1, 1))
    assert drawn[0, 0][1].abs().max() == 2


def test_shifted_moves_each_image_by_its_own_amount() -> None:
    images = torch.randn(3, 2, 5, 7)
    moved = shifted(images, torch.tensor([[1, 0], [0, -2], [0, 0]]))
    assert torch.equal(moved[0, :, 1:], images[0, :, :-1])
    assert torch.equal(moved[0, :, 0], images[0, :, 0])
    assert torch.equal(moved[1, :, :, :-2], images[1, :, :, 2:])
    assert torch.equal(moved[2], images[2])


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0, 3.0])
def test_the_rate_warms_up_without_a_jump_and_is_never_zero(warmup: float) -> None:
    config = Config(epochs=5, warmup_epochs=warmup)
    rates = [learning_rate(config, step, 20) for step in range(100)]
    peak = round(warmup * 20)
    assert all(0 < rate <= config.learning_rate for rate in rates)
    assert rates[peak] == config.learning_rate
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert all(abs(a - b) <= config.learning_rate / min(peak or 20, 20) + 1e-12
               for a, b in itertools.pairwise(rates))  # fmt: skip


def test_threads_are_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), limited_threads(before + 1):
        _ = torch.get_num_threads() // 0
    assert torch.get_num_threads() == before


def test_the_slower_number_of_threads_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("torchweld.training.threads.time.perf_counter", lambda: now[0])

    def step() -> None:
        now[0] += 0.2 if torch.get_num_threads() > 1 else 0.1

    with limited_threads(2):
        assert fastest_threads(step) == 1


def test_the_demos_recipe_uses_known_names() -> None:
    config = digits_demo()
    assert config.to_dict()["data"] == "digits"
    assert config.epochs <= 30
