"""Batches: whatever the workers, the ranks or the step they start from, the same samples and numbers."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchweld import data
from torchweld.core import InputError
from torchweld.data import Augmentation, Batch, Batches, Dataset, Scale

from .files import pixels

ALL = Augmentation(
    flip=True,
    turn=True,
    shift_pixels=1,
    crop=(0.5, 1.0),
    rotate_degrees=20,
    erase=0.5,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    mixup=0.4,
    cutmix=1.0,
)


def coloured(count: int = 23) -> Dataset:
    labels = np.random.default_rng(1).integers(0, 4, count)
    return Dataset(pixels((count, 3, 8, 8)), labels, [str(i) for i in range(count)])


SCALE = Scale((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), classes=4)


def masked(count: int = 11) -> Dataset:
    masks = np.random.default_rng(2).integers(0, 3, (count, 8, 8)).astype(np.uint8)
    return Dataset(pixels((count, 3, 8, 8)), masks, [str(i) for i in range(count)])


def equal(first: Batch, second: Batch) -> bool:
    pairs = ((first.inputs, second.inputs), (first.targets, second.targets), (first.rows, second.rows))
    return first.samples == second.samples and all(torch.equal(a, b) for a, b in pairs)


def all_equal(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_plain_batch_is_the_rows_scaled() -> None:
    dataset = coloured()
    batch = next(Batches(dataset, SCALE, 5, seed=3).epoch(0))
    rows = batch.rows.numpy()
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (SCALE.mean, SCALE.std))
    expected = (torch.from_numpy(np.asarray(dataset.inputs)[rows]).double() / 255 - mean) / std
    assert batch.inputs.dtype == torch.float32
    torch.testing.assert_close(batch.inputs.double(), expected, rtol=0, atol=1e-5)
    assert batch.targets.tolist() == np.asarray(dataset.targets)[rows].tolist()
    assert batch.targets.dtype == torch.int64


def test_inputs_stay_uint8_until_the_batch_and_are_never_written_to() -> None:
    dataset = coloured()
    before = np.array(dataset.inputs)
    list(Batches(dataset, SCALE, 5, augmentation=ALL).epoch(0))
    assert dataset.inputs.dtype == np.uint8
    assert np.array_equal(before, np.asarray(dataset.inputs))


@pytest.mark.parametrize("make", [coloured, masked])
def test_workers_change_nothing_bit_for_bit(make: Any) -> None:
    what = ALL if make is coloured else Augmentation(rotate_degrees=30, flip=True, cutmix=1.0)
    alone = Batches(make(), SCALE, 4, seed=1, augmentation=what)
    helped = Batches(make(), SCALE, 4, seed=1, augmentation=what, workers=2)
    for epoch, start in ((0, 0), (1, 2)):  # the second from inside, with the same workers
        assert all_equal(list(alone.epoch(epoch, start)), list(helped.epoch(epoch, start)))


def test_an_epoch_left_inside_leaves_nothing_to_the_next() -> None:
    helped = Batches(coloured(), SCALE, 4, seed=1, augmentation=ALL, workers=2)
    for _ in helped.epoch(0):
        break
    assert all_equal(list(helped.epoch(1)), list(Batches(coloured(), SCALE, 4, seed=1, augmentation=ALL).epoch(1)))


def test_workers_stop_with_the_last_reference() -> None:
    """A cycle would leave them to the collector, and then each takes five seconds to stop."""
    helped = Batches(coloured(), SCALE, 4, workers=1)
    for _ in helped.epoch(0):
        pass
    kept = weakref.ref(helped)
    gc.disable()
    try:
        del helped, _
        assert kept() is None
    finally:
        gc.enable()


def test_an_epoch_resumed_inside_is_the_rest_of_the_whole() -> None:
    batches = Batches(coloured(), SCALE, 4, seed=5, augmentation=ALL)
    whole = list(batches.epoch(2))
    for start in range(batches.steps + 1):
        fresh = Batches(coloured(), SCALE, 4, seed=5, augmentation=ALL)
        assert all_equal(list(fresh.epoch(2, start)), whole[start:])


def test_each_epoch_augments_anew_and_each_worker_apart() -> None:
    """The complaint: one seed in every worker, or every epoch, and so the same crops again and again."""
    dataset = Dataset(np.repeat(pixels((1, 3, 8, 8)), 64, 0), np.zeros(64, np.int64), [str(i) for i in range(64)])
    what = Augmentation(rotate_degrees=45)
    batches = Batches(dataset, SCALE, 16, augmentation=what, workers=2)
    seen = [tuple(image.flatten().tolist()) for epoch in (0, 1) for b in batches.epoch(epoch) for image in b.inputs]
    assert len(set(seen)) == len(seen) == 128


def test_a_sample_is_augmented_alike_in_batches_of_any_size() -> None:
    def by_row(batch_size: int) -> dict[int, Tensor]:
        made = Batches(coloured(), SCALE, batch_size, seed=2, augmentation=ALL)
        return {int(row): image for b in made.epoch(3) for row, image in zip(b.rows, b.inputs, strict=True)}

    small, large = by_row(2), by_row(23)
    assert small.keys() == large.keys()
    for row, image in small.items():
        torch.testing.assert_close(image, large[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_each_batch_without_overlap_or_loss(world: int) -> None:
    whole = list(Batches(coloured(), SCALE, 6, seed=4).epoch(1))
    ranks = [list(Batches(coloured(), SCALE, 6, seed=4, rank=r, world=world).epoch(1)) for r in range(world)]
    for step, batch in enumerate(whole):
        parts = [rank[step] for rank in ranks]
        assert sorted(torch.cat([p.rows for p in parts]).tolist()) == sorted(batch.rows.tolist())
        assert {p.samples for p in parts} == {len(batch.rows)}


def test_mixed_targets_are_shares_that_sum_to_one() -> None:
    for what in (Augmentation(mixup=0.5), Augmentation(cutmix=0.5), Augmentation(mixup=1.0, cutmix=1.0)):
        for batch in Batches(coloured(), SCALE, 6, augmentation=what).epoch(0):
            assert batch.targets.shape == (len(batch.rows), 4)
            torch.testing.assert_close(batch.targets.sum(1), torch.ones(len(batch.rows)))
            assert bool((batch.targets >= 0).all())


def test_the_share_of_a_target_is_the_share_of_the_pixels() -> None:
    """Images of one grey a class: the mean pixel of a blend says how much of each went in."""
    labels = np.arange(30) % 2
    images = np.broadcast_to((labels * 255).astype(np.uint8)[:, None, None, None], (30, 1, 9, 7)).copy()
    dataset = Dataset(images, labels, [str(i) for i in range(30)])
    for what in (Augmentation(mixup=1.0), Augmentation(cutmix=1.0)):
        for batch in Batches(dataset, Scale((0.0,), (1.0,), classes=2), 10, augmentation=what).epoch(0):
            torch.testing.assert_close(batch.inputs.mean((1, 2, 3)), batch.targets[:, 1], rtol=0, atol=1e-5)


def test_cutmix_pastes_masks_with_their_pixels() -> None:
    """Masks that equal the image: they still do after pasting, flips and turns."""
    masks = np.random.default_rng(0).integers(0, 3, (12, 8, 8)).astype(np.uint8)
    dataset = Dataset(masks[:, None] * 100, masks, [str(i) for i in range(12)])
    what = Augmentation(cutmix=1.0, flip=True, turn=True, shift_pixels=2)
    for batch in Batches(dataset, Scale((0.0,), (1.0,), classes=3), 4, augmentation=what).epoch(0):
        assert batch.targets.dtype == torch.int64
        assert torch.equal((batch.inputs[:, 0] * 255 / 100).round().long(), batch.targets)


def test_a_tables_targets_are_standardised_and_come_back() -> None:
    table = np.random.default_rng(0).normal(50, 7, (20, 3)).astype(np.float32)
    targets = (table.sum(1, keepdims=True) * 10).astype(np.float32)
    dataset = Dataset(table, targets, [str(i) for i in range(20)])
    scale = data.moments.measured(dataset, 0)
    batch = next(Batches(dataset, scale, 20).epoch(0))
    assert batch.inputs.mean(0).abs().max() < 1e-5
    assert abs(batch.targets.std(correction=0).item() - 1) < 1e-5
    torch.testing.assert_close(scale.restored(batch.targets), torch.from_numpy(targets)[batch.rows])
    blended = next(Batches(dataset, scale, 20, augmentation=Augmentation(mixup=1.0)).epoch(0))
    assert blended.targets.shape == (20, 1)


def test_channels_last() -> None:
    batch = next(Batches(coloured(), SCALE, 6, channels_last=True).epoch(0))
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)


def test_pickled_batches_give_the_same() -> None:
    batches = Batches(coloured(), SCALE, 6, augmentation=ALL, seed=9)
    assert all_equal(list(pickle.loads(pickle.dumps(batches)).epoch(1)), list(batches.epoch(1)))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"rank": 2, "world": 2}, "rank=2"),
        ({"world": 7, "batch_size": 5}, "7 ranks"),
        ({"workers": -1}, "workers=-1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_out_of_range_are_named(options: dict[str, int], named: str) -> None:
    settings = {"batch_size": 4, **options}
    with pytest.raises(InputError, match=named):
        Batches(coloured(), SCALE, settings.pop("batch_size"), **settings)  # type: ignore[arg-type]


def test_what_the_data_do_not_allow_is_refused_at_once() -> None:
    table = Dataset(np.zeros((4, 3), np.float32), np.zeros((4, 1), np.float32), "abcd")
    oblong = Dataset(pixels((4, 3, 8, 6)), np.zeros(4, np.int64), "abcd")
    empty = Dataset(pixels((0, 3, 8, 8)), np.zeros(0, np.int64), "")
    cases = [
        (table, SCALE, Augmentation(flip=True), "mixup alone"),
        (oblong, SCALE, Augmentation(turn=True), "8x6"),
        (masked(), SCALE, Augmentation(mixup=1.0), "cutmix"),
        (coloured(), Scale((0.5,) * 3, (0.2,) * 3), Augmentation(cutmix=1.0), "number of classes"),
        (empty, SCALE, None, "empty"),
    ]
    for dataset, scale, what, named in cases:
        with pytest.raises(InputError, match=named):
            Batches(dataset, scale, 2, augmentation=what)
    with pytest.raises(InputError, match="start=9"):
        Batches(coloured(), SCALE, 4).epoch(0, 9)
    with pytest.raises(InputError, match="3 inputs, 2 targets"):
        Dataset(pixels((3, 1, 2, 2)), np.zeros(2, np.int64), "abc")
