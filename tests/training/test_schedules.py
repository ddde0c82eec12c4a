"""Laws of schedules: positive, continuous where they say so, free of state; and the mistakes they are known for."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld.core import InputError
from torchweld.training import (
    Config,
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    PiecewiseConstant,
    Restarts,
    Schedule,
    Step,
    Triangular,
    Warmup,
    plot,
    schedule,
)
from torchweld.training.config import SCHEDULES

RATES = st.floats(1e-6, 10)
LENGTHS = st.floats(0.5, 200)
DECAYS = st.one_of(
    st.builds(Constant, RATES),
    st.builds(lambda base, share, length: Cosine(base, base * share, length), RATES, st.floats(1e-6, 1), LENGTHS),
    st.builds(lambda base, share, length: Linear(base, base * share, length), RATES, st.floats(1e-6, 1), LENGTHS),
    st.builds(Exponential, RATES, st.floats(0.1, 1)),
    st.builds(Step, RATES, st.floats(0.1, 1), LENGTHS),
    st.builds(lambda base, factor, at: MultiStep(base, factor, tuple(sorted(at))), RATES, st.floats(0.1, 1),
              st.lists(LENGTHS, max_size=4)),
)  # fmt: skip
CYCLES = st.one_of(
    st.builds(lambda b, s, p, g: Restarts(b, b * s, p, g), RATES, st.floats(1e-6, 1), LENGTHS, st.floats(1, 3)),
    st.builds(lambda b, s, p: Triangular(b * s, b, p), RATES, st.floats(1e-6, 1), LENGTHS),
)
TIMES = st.lists(st.floats(0, 1000), min_size=1, max_size=30)


@given(DECAYS | CYCLES, st.floats(0, 50), RATES, TIMES)
def test_pure_and_never_zero(after: Schedule, length: float, begin: float, times: list[float]) -> None:
    rate = Warmup(length, begin, after)
    asked = [rate(time) for time in times]
    assert all(value > 0 and math.isfinite(value) for value in asked)
    # Asked in another order, and again, it says the same: no state, so a resume is a straight run.
    assert [rate(time) for time in reversed(times)] == asked[::-1]
    assert rate(0) > 0


@given(DECAYS, TIMES)
def test_decay_never_rises(decay: Schedule, times: list[float]) -> None:
    rates = [decay(time) for time in sorted(times)]
    assert all(late <= early * (1 + 1e-12) for early, late in itertools.pairwise(rates))


@given(DECAYS | CYCLES, st.floats(0.1, 50), RATES)
def test_no_jump_at_the_end_of_warm_up(after: Schedule, length: float, begin: float) -> None:
    rate, tiny = Warmup(length, begin, after), 1e-9
    assert rate(length) == after(0)
    assert rate(length * (1 - tiny)) == pytest.approx(after(0), rel=1e-6, abs=1e-7 * max(begin, after(0)))


@given(RATES, st.floats(1e-6, 1), LENGTHS, st.floats(0, 1))
def test_cosine_is_torchs(base: float, share: float, length: float, at: float) -> None:
    whole = max(1, round(length))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, whole, eta_min=base * share)
    ours = Cosine(base, base * share, whole)
    for epoch in range(min(whole, 20)):
        assert ours(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        torchs.step()


def test_the_notes_numbers() -> None:
    """5 warm-up epochs of 40, from 1e-9, to 1e-9, and 1e-9 from then on."""
    rate = Warmup(5, 1e-9, Cosine(0.3, 1e-9, 35))
    assert rate(0) == 1e-9
    assert rate(2.5) == pytest.approx(0.15, rel=1e-8)
    assert rate(5) == 0.3
    assert rate(22.5) == pytest.approx(0.15, rel=1e-6)
    assert rate(40) == rate(1000) == 1e-9


def test_asking_does_not_make_the_decay_compound() -> None:
    """The notes' scheduler overwrites its base rate on each call: its second answer at the same time is lower."""

    class Notes:
        def __init__(self, base: float) -> None:
            self.base = base

        def __call__(self, time: float) -> float:
            self.base = self.base * (1 + math.cos(math.pi * time / 40)) / 2
            return self.base

    mistaken, ours = Notes(0.3), Cosine(0.3, 1e-9, 40)
    assert mistaken(20) > mistaken(20)
    assert ours(20) == ours(20) == pytest.approx(0.15)


def test_steps_and_milestones_as_in_the_books() -> None:
    assert [round(Step(1.0, 0.5, 10)(t), 3) for t in (0, 9.99, 10, 25)] == [1.0, 1.0, 0.5, 0.25]
    assert PiecewiseConstant((5, 10), (3.0, 2.0, 1.0))(7) == 2.0
    assert Triangular(0.1, 1.0, 8)(4) == 1.0
    growing = Restarts(1.0, 0.01, period=10, growth=2)
    assert growing(10) == growing(30) == 1.0
    assert growing(29.999) < 0.011


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(0),
        lambda: Cosine(0.1, 0.0, 5),
        lambda: Cosine(0.1, 0.01, 0),
        lambda: Warmup(5, 0.0, Constant(1)),
        lambda: Warmup(-1, 0.1, Constant(1)),
        lambda: PiecewiseConstant((5, 5), (1.0, 0.5, 0.1)),
        lambda: PiecewiseConstant((5,), (1.0,)),
        lambda: Restarts(1.0, 0.1, 5, growth=0.5),
        lambda: Exponential(0.1, float("nan")),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(make: object) -> None:
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 3.0])
def test_every_name_of_a_config_makes_one(name: str, warmup: float) -> None:
    config = Config(schedule=name, epochs=20, warmup_epochs=warmup, learning_rate=0.2, milestones=(5.0, 9.0))
    rate = schedule(config)
    rates = [rate(step / 50) for step in range(20 * 50)]
    assert all(0 < value <= 0.2 * (1 + 1e-12) for value in rates)
    if warmup:
        assert rates[0] == pytest.approx(0.2 * config.warmup_begin_factor)
    assert schedule(replace(config))(7.25) == rate(7.25)


def test_the_picture_is_written(tmp_path: Path) -> None:
    plot({name: schedule(Config(schedule=name, epochs=40)) for name in SCHEDULES}, 40, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 10_000
    assert [p.name for p in tmp_path.iterdir()] == ["rates.png"]
