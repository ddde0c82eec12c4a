"""Teaching dates: it learns, it repeats itself, it leaves the generator alone. The full task is in benchmarks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from torchweld.core import InputError
from torchweld.models.sequence import cores
from torchweld.training.sequences import DatesConfig, exact_match, learn_dates, rate_at, read_dates

SHORT = DatesConfig(steps=6, batch=8, features=16, layers=1, heads=2, warmup_share=0.3, examined=5)


def test_a_short_course_teaches_to_read_dates_never_seen() -> None:
    """A hundred steps: from nothing right to most of it."""
    run = learn_dates(
        DatesConfig(
            "cnn", features=48, layers=1, steps=130, batch=64, learning_rate=6e-3, warmup_share=0.1, examined=400
        )
    )
    first, last = run.losses[0][1], sum(loss for _, loss in run.losses[-10:]) / 10
    assert first > 2
    assert last < 0.15
    assert run.exact > 0.6
    assert run.read("12 March 2003", "2003/3/12") == read_dates(run.model, ["12 March 2003", "2003/3/12"])
    assert exact_match(run.model, 0, 100, width=3) > 0.5


@pytest.mark.parametrize("core", cores())
def test_the_same_config_gives_the_same_model(core: str) -> None:
    state = torch.get_rng_state()
    a, b = (learn_dates(replace(SHORT, core=core)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert a.losses == b.losses
    assert a.exact == b.exact
    assert [step for step, _ in a.losses] == list(range(1, 7))
    assert learn_dates(replace(SHORT, core=core, seed=1)).losses != a.losses
    assert set(a.to_dict()) == {"config", "parameters", "exact", "seconds", "cpu_seconds", "losses"}


def test_the_rate_rises_then_falls_and_is_never_zero() -> None:
    config = DatesConfig(steps=50, warmup_share=0.2)
    rates = [rate_at(config, step) for step in range(50)]
    assert max(rates) == config.learning_rate == rates[9]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert min(rates) > 0


def test_each_step_is_watched() -> None:
    seen = []
    run = learn_dates(SHORT, lambda step, loss: seen.append((step, loss)))
    assert tuple(seen) == run.losses


@pytest.mark.parametrize("changed", [{"steps": 0}, {"batch": 0}, {"examined": 0}, {"threads": 0}, {"features": 0}])
def test_empty_counts_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(InputError, match="=0 is not positive"):
        learn_dates(replace(SHORT, **changed))


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_warm_up_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="warmup_share"):
        learn_dates(replace(SHORT, warmup_share=share))


def test_an_unknown_core_is_refused() -> None:
    with pytest.raises(InputError, match="no core"):
        learn_dates(replace(SHORT, core="mamba"))
    assert read_dates(learn_dates(SHORT).model, []) == []
