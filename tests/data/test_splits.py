"""Parts and scale: held out by class and seed, measured on the training part alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld import data
from torchweld.core import InputError
from torchweld.data import Dataset, Scale, Selection
from torchweld.data.holdout import held_out, held_out_groups
from torchweld.data.moments import measured

from .files import pair_set, pixels


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.floats(0, 0.99), st.integers(0, 2**32))
def test_each_class_is_held_out_in_proportion_and_never_all_of_it(labels: list[int], share: float, seed: int) -> None:
    strata = np.array(labels)
    kept, held = held_out(strata, share, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label in set(labels):
        count, out = labels.count(label), int((strata[held] == label).sum())
        assert out < count
        if share > 0 and count > 1:
            assert out >= 1
            assert abs(out - share * count) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=2, max_size=100),
    st.floats(0.01, 0.99),
    st.integers(0, 2**32),
)
def test_groups_stay_together_and_training_keeps_every_class(
    samples: list[tuple[int, int]], share: float, seed: int
) -> None:
    groups, strata = np.array(samples).T
    try:
        kept, held = held_out_groups(groups, strata, share, seed)
    except InputError:
        # Then every group has some class to itself.
        assert all(any(set(groups[strata == k]) == {g} for k in set(strata)) for g in set(groups))
        return
    assert sorted([*kept, *held]) == list(range(len(samples)))
    assert not set(groups[kept]) & set(groups[held])
    assert set(strata[kept]) == set(strata)
    largest = max(np.bincount(groups))
    assert 0 < len(held) < share * len(samples) + largest
    assert len(held_out_groups(groups, strata, 0, seed)[1]) == 0


def test_tiles_of_one_photograph_are_held_out_together(tmp_path: Path) -> None:
    pair_set(tmp_path, [f"f{photograph}_x{tile}" for photograph in range(5) for tile in range(4)])
    splits = data.read(tmp_path, holdout=0.2, holdout_by="f[0-9]+")
    of = [{name.split("/")[-1].split("_")[0] for name in part.names} for part in (splits.train, splits.held_out)]
    assert (len(splits.train), len(splits.held_out), len(of[0]), len(of[1])) == (16, 4, 4, 1)
    assert not of[0] & of[1]
    for pattern, named in ((r"g\d", "does not occur in the name"), ("f(", "is no regular expression"),
                           (".*f", "no group can be held out")):  # fmt: skip
        with pytest.raises(InputError, match=named):
            data.read(tmp_path, holdout_by=pattern)


def test_the_seed_decides_what_is_held_out() -> None:
    first, again, other = (set(data.read("digits", seed=seed).held_out.names) for seed in (1, 1, 2))
    assert first == again != other
    assert not first & set(data.read("digits", seed=1).train.names)


def test_the_scale_is_the_training_parts() -> None:
    splits = data.read("digits", seed=3)
    exact = np.asarray(splits.train.inputs, np.float64) / 255
    assert abs(splits.mean[0] - exact.mean()) < 1e-12
    assert abs(splits.std[0] - exact.std()) < 1e-12
    assert splits.mean != data.read("digits", seed=4).mean


def test_scale_by_channel_whatever_the_chunks() -> None:
    images = pixels((700, 3, 32, 32))
    scale = measured(Dataset(images, np.zeros(700, np.int64), [""] * 700), 2)
    exact = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert np.allclose(scale.mean, exact.mean(1), rtol=1e-12)
    assert np.allclose(scale.std, exact.std(1), rtol=1e-9)


def test_what_never_changes_divides_by_one() -> None:
    table = Dataset(np.full((4, 2), 7, np.float32), np.full((4, 1), 3, np.float32), "abcd")
    scale = measured(table, 0)
    assert scale.std == (0.0, 0.0)
    assert scale.normalised(torch.full((4, 2), 7.0)).tolist() == [[0, 0]] * 4
    assert scale.restored(scale.standardised(torch.full((4, 1), 3.0))).tolist() == [[3]] * 4


@pytest.mark.parametrize("channels", [1, 3])
def test_normalising_spans_every_grey(channels: int) -> None:
    scale = Scale((0.5,) * channels, (0.25,) * channels)
    greys = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, channels, 1, 1)
    expected = (torch.arange(256, dtype=torch.float64) / 255 - 0.5) / 0.25
    for given_dtype in (greys, greys.float()):
        before = given_dtype.clone()
        made = scale.normalised(given_dtype)
        torch.testing.assert_close(made[:, 0, 0, 0].double(), expected, rtol=0, atol=1e-6)
        assert torch.equal(given_dtype, before)


@pytest.mark.parametrize("options", [{"image_size": 16}, {"channels": 3}, {"task": "regress"}])
def test_what_built_in_data_do_not_have_is_refused_and_not_ignored(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="digits"):
        data.read("digits", **options)


def test_facts_are_plain() -> None:
    facts = data.read("digits").to_dict()
    assert facts["samples"] == {"train": 1618, "held_out": 179, "test": 0}
    assert facts["input_shape"] == [1, 8, 8]
    assert facts["mask_values"] is None


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 3))
def test_a_selection_reads_like_the_array_it_stands_for(rows: list[int], at: int) -> None:
    base = pixels((10, 3, 2))
    made, chosen = base[np.array(rows, int)], Selection(base, np.array(rows, int))
    assert chosen.shape == made.shape
    assert len(chosen) == len(rows)
    assert chosen.nbytes == made.nbytes
    assert np.array_equal(np.asarray(chosen), made)
    assert np.array_equal(chosen[1:4], made[1:4])
    assert np.array_equal(chosen[:, at % 3], made[:, at % 3])
    if at < len(rows):
        assert np.array_equal(chosen[at], made[at])
        assert chosen[at, 1, 1] == made[at, 1, 1]
        assert np.array_equal(chosen[np.array([at, 0])], made[np.array([at, 0])])


@pytest.mark.parametrize("share", [1.0, -0.5, float("nan")])
def test_shares_out_of_range_are_named(share: float) -> None:
    with pytest.raises(InputError, match="holdout"):
        held_out(np.zeros(4, int), share, 0)
