"""The digits' split: fixed by its seed, disjoint, in proportion, standardised by the training part alone."""

from __future__ import annotations

import pytest
import torch

from torchweld import data
from torchweld.core import InputError


def test_the_split_is_a_function_of_its_seed() -> None:
    first, again, other = data.digits(1), data.digits(1), data.digits(2)
    assert torch.equal(first.train_images, again.train_images)
    assert torch.equal(first.test_labels, again.test_labels)
    assert not torch.equal(first.test_images, other.test_images)


def test_every_digit_is_in_exactly_one_part() -> None:
    split = data.digits(3)
    rows = torch.cat([split.train_images, split.test_images]).flatten(1)
    assert len(rows) == 1797
    distinct = {tuple(row) for row in (rows * 1000).round().int().tolist()}
    overlap = {tuple(r) for r in split.train_images.flatten(1).tolist()} & {
        tuple(r) for r in split.test_images.flatten(1).tolist()
    }
    assert len(distinct) == 1797
    assert not overlap


def test_classes_are_held_out_in_proportion() -> None:
    split = data.digits(0, held_out=0.25)
    share = split.test_labels.bincount() / (split.test_labels.bincount() + split.train_labels.bincount())
    assert (share - 0.25).abs().max() < 0.01


def test_only_the_training_part_sets_the_scale() -> None:
    split = data.digits(0)
    assert abs(split.train_images.mean().item()) < 1e-6
    assert abs(split.train_images.std().item() - 1) < 1e-6
    assert abs(split.test_images.mean().item()) > 1e-6


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_an_empty_part_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="held_out"):
        data.digits(0, share)


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(InputError, match=r"'digit'.*digits"):
        data.load("digit")
