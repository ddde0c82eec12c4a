"""Order and draws: pure functions of (seed, epoch, row)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchweld.data import draws, order
from torchweld.data.draws import Purpose

COUNTS = st.integers(1, 200)


@given(samples=COUNTS, batch_size=COUNTS, seed=st.integers(0, 2**63), epoch=st.integers(0, 1000))
def test_an_epoch_has_every_sample_once_in_batches_of_one_size_to_within_one(
    samples: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = [
        order.rows_of(step, samples, batch_size, seed, epoch) for step in range(order.steps(samples, batch_size))
    ]
    assert sorted(np.concatenate(batches).tolist()) == list(range(samples))
    sizes = {len(rows) for rows in batches}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_each_epoch_and_seed_has_an_order_of_its_own() -> None:
    orders = {tuple(order.rows_of(0, 50, 50, seed, epoch).tolist()) for seed in (0, 1, 2**63) for epoch in (0, 1, 2)}
    assert len(orders) == 9


def test_without_shuffling_the_order_is_the_data_sets() -> None:
    assert order.rows_of(1, 7, 4, 0, 0, shuffle=False).tolist() == [4, 5, 6]


@given(rows=st.lists(st.integers(0, 100_000), min_size=1, max_size=20), width=st.integers(1, 4))
def test_a_rows_numbers_are_the_same_whichever_rows_it_is_drawn_with(rows: list[int], width: int) -> None:
    together = draws.uniform(3, 5, Purpose.CROP, np.array(rows), width)
    alone = [draws.uniform(3, 5, Purpose.CROP, np.array([row]), width)[0] for row in rows]
    assert np.array_equal(together, np.array(alone))


def test_rows_epochs_seeds_and_purposes_draw_apart() -> None:
    rows = np.arange(40_000)  # three blocks
    streams = [
        draws.uniform(seed, epoch, purpose, rows, 1)[:, 0]
        for seed in (0, 1)
        for epoch in (0, 1)
        for purpose in (Purpose.FLIP, Purpose.ERASE)
    ]
    correlation = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlation).max() < 5 / np.sqrt(len(rows))
    half = len(rows) // 2
    assert abs(np.corrcoef(streams[0][:half], streams[0][half:])[0, 1]) < 5 / np.sqrt(half)
    assert all(abs(stream.mean() - 0.5) < 5 / np.sqrt(12 * len(rows)) for stream in streams)
    assert all(len(np.unique(stream)) > 0.99 * len(rows) for stream in streams)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_beta_has_its_mean_and_variance(alpha: float) -> None:
    values = draws.beta(0, 0, Purpose.BLEND, np.arange(30_000), alpha).astype(np.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(values.mean() - 0.5) < 5 * np.sqrt(variance / len(values))
    assert abs(values.var() / variance - 1) < 0.05
