"""Batches of a data set, each a pure function of (seed, epoch, step): workers, ranks and restarts cannot change them.

Shapes: B batch, C channels, H and W the image, F columns, K classes, T targets.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as MapDataset

from torchweld.core import InputError
from torchweld.data.augmentation import Augmentation
from torchweld.data.draws import Integers
from torchweld.data.mixing import mixed, partners
from torchweld.data.order import rows_of, steps
from torchweld.data.scale import Scale
from torchweld.data.splits import Array, Dataset, Splits

_Key = tuple[int, Integers]  # an epoch and the rows of one of its batches, those of all ranks together


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's samples, normalised. `samples` counts those of all ranks together."""

    inputs: Tensor  # (B, C, H, W) or (B, F), float32
    targets: Tensor  # (B,) int64, (B, K) float32 shares when mixed, (B, H, W) int64, or (B, T) float32
    rows: Tensor  # (B,) rows of the data set
    samples: int


class Batches:
    """The batches of each epoch: every sample once, batches of equal size to within one.

    `workers` prepare batches in processes of their own; the batches are the same, bit for bit. Of each batch, rank r of
    `world` takes rows r, r + world, and so on. `shuffle=False` keeps the data set's order. Mixup and cutmix need the
    number of classes, from `splits_or_scale`.

    Raises `InputError` for an empty data set, a batch size below 1 or below `world`, or an augmentation that the data
    do not allow.

    >>> from torchweld import data
    >>> splits = data.read("digits")
    >>> batches = Batches(splits.train, splits, 64)
    >>> batch = next(batches.epoch(0))
    >>> batches.steps, batch.inputs.shape, batch.inputs.dtype, batch.targets.dtype
    (26, torch.Size([63, 1, 8, 8]), torch.float32, torch.int64)
    """

    def __init__(
        self,
        dataset: Dataset,
        splits_or_scale: Splits | Scale,
        batch_size: int,
        *,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        shuffle: bool = True,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        channels_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} must be positive")
        if len(dataset) == 0:
            raise InputError("the data set is empty; there is nothing to make batches of")
        if not 0 <= rank < world:
            raise InputError(f"rank={rank} of world={world}; ranks count from 0 to world - 1")
        if workers < 0 or seed < 0:
            raise InputError(f"workers={workers} and seed={seed} must not be negative")
        self.dataset = dataset
        self.scale = splits_or_scale if isinstance(splits_or_scale, Scale) else splits_or_scale.scale
        self.batch_size, self.seed, self.shuffle, self.workers = batch_size, seed, shuffle, workers
        self.rank, self.world, self.channels_last = rank, world, channels_last
        self.augmentation = augmentation or Augmentation()
        self.steps = steps(len(dataset), batch_size)
        if not self.reaches_all(len(dataset)):
            least = len(dataset) // self.steps
            raise InputError(f"batches of {least} samples leave some of {world} ranks without any; take larger ones")
        self._check_augmentation()
        self._plan = _Plan()
        self._loader: DataLoader[Any] | None = None

    def epoch(self, number: int, start: int = 0, among: Integers | None = None) -> Iterator[Batch]:
        """The batches of epoch `number`, counted from 0, from step `start` on; of the rows `among` alone, if given."""
        count = self.steps_among(among)
        if not 0 <= start <= count:
            raise InputError(f"start={start}: an epoch has {count} steps")
        keys = [(number, self._rows(number, step, among)) for step in range(start, count)]
        if self.workers == 0:
            return (self._made(*key) for key in keys)
        return self._from_workers(keys)

    def steps_among(self, rows: Integers | None) -> int:
        """Batches of an epoch that takes these rows alone; None for all."""
        return self.steps if rows is None else steps(len(rows), self.batch_size)

    def reaches_all(self, samples: int) -> bool:
        """Whether each rank gets a sample of each batch in an epoch of so many."""
        return samples // steps(samples, self.batch_size) >= self.world

    def batch(self, epoch: int, step: int) -> Batch:
        """One batch by itself."""
        return self._made(epoch, self._rows(epoch, step))

    def _rows(self, epoch: int, step: int, among: Integers | None = None) -> Integers:
        """The rows of a batch, those of all ranks together."""
        count = len(self.dataset) if among is None else len(among)
        places = rows_of(step, count, self.batch_size, self.seed, epoch, self.shuffle)
        return places if among is None else among[places]

    def _made(self, epoch: int, whole: Integers) -> Batch:
        rows = whole[self.rank :: self.world]
        what = self.augmentation
        if what.mixes:
            inputs, targets = self._mixed(rows, epoch)
        else:
            inputs, targets = self._augmented(rows, epoch)
        inputs = self.scale.normalised(inputs)
        if self.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return Batch(inputs, targets, torch.from_numpy(np.array(rows)), len(whole))

    def _augmented(self, rows: np.ndarray[Any, Any], epoch: int) -> tuple[Tensor, Tensor]:
        inputs = torch.from_numpy(_take(self.dataset.inputs, rows))
        targets = torch.from_numpy(_take(self.dataset.targets, rows))
        if inputs.ndim == 4:
            inputs, targets = self.augmentation.apply(inputs, targets, rows, self.seed, epoch)
        if targets.is_floating_point():
            return inputs, self.scale.standardised(targets)
        return inputs, targets.long()  # cross-entropy takes no uint8

    def _mixed(self, rows: np.ndarray[Any, Any], epoch: int) -> tuple[Tensor, Tensor]:
        others = partners(rows, len(self.dataset), self.seed, epoch)
        inputs, targets = self._augmented(np.concatenate([rows, others]), epoch)
        if targets.ndim == 1:
            targets = F.one_hot(targets, self.scale.classes).float()
        count, what = len(rows), self.augmentation
        return mixed(
            (inputs[:count], inputs[count:]),
            (targets[:count], targets[count:]),
            what.mixup,
            what.cutmix,
            rows,
            self.seed,
            epoch,
        )

    def _from_workers(self, keys: list[_Key]) -> Iterator[Batch]:
        if self._loader is None:
            # batch_size=None: a worker returns whole batches, so that the arithmetic is that of one process.
            # A copy, lest loader and batches refer to each other: workers of a loader that the cycle collector takes
            # apart are not told to stop, and each is waited for five seconds.
            self._loader = DataLoader(
                _Steps(copy.copy(self)),
                batch_size=None,
                sampler=self._plan,
                num_workers=self.workers,
                collate_fn=_unchanged,
                persistent_workers=True,
                worker_init_fn=_undisturbed,
            )
        self._plan.keys = keys
        yield from self._loader

    def _check_augmentation(self) -> None:
        what, inputs, targets = self.augmentation, self.dataset.inputs, self.dataset.targets
        if inputs.ndim != 4:
            if what.without_mixing() != Augmentation() or what.cutmix:
                raise InputError("a table has no pixels; of all augmentations it takes mixup alone")
        elif what.turn and inputs.shape[2] != inputs.shape[3]:
            size = f"{inputs.shape[2]}x{inputs.shape[3]}"
            raise InputError(f"turn: images of {size} are not square; resize them, or leave turn out")
        if what.mixup and targets.ndim == 3:
            raise InputError("mixup blends targets, and a mask has one class a pixel; take cutmix")
        if what.mixes and targets.ndim == 1 and not self.scale.classes:
            raise InputError("mixup and cutmix need the number of classes; give the splits, or a scale with classes")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}


class _Steps(MapDataset[Batch]):
    """What a worker holds: it makes the batch of a key."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, key: _Key) -> Batch:
        return self.batches._made(*key)


class _Plan(Sampler[_Key]):
    """The keys of the epoch that is running; the workers live on from one epoch to the next."""

    def __init__(self) -> None:
        self.keys: Iterable[_Key] = ()

    def __iter__(self) -> Iterator[_Key]:
        return iter(self.keys)


def _unchanged(batch: Any) -> Any:
    return batch


def _undisturbed(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; what to do about it is for the one that trains to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _take(array: Array, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.take(rows, axis=0) if isinstance(array, np.ndarray) else array[rows]
