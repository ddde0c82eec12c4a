"""Streams, sizes and footprints: what is in memory, and epochs that are never empty by accident."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from torchweld.core import InputError
from torchweld.data import Once, Stream, deep_size, footprint, shallow_size, walked


def squares(count: int) -> Iterator[int]:
    return (x * x for x in range(count))


def test_a_list_holds_all_and_a_generator_one() -> None:
    as_list = walked(lambda: [bytes(10_000) for _ in range(500)])
    streamed = walked(lambda: (bytes(10_000) for _ in range(500)))
    assert as_list.items == streamed.items == 500
    assert as_list.peak_bytes >= 5_000_000
    assert streamed.peak_bytes < 100_000
    longer = walked(lambda: (bytes(10_000) for _ in range(5_000)))
    assert longer.peak_bytes < 100_000  # bounded, however long
    assert as_list.shallow_bytes < 10_000 < 5_000_000 <= as_list.deep_bytes


def test_a_spent_iterator_is_an_error_and_no_empty_epoch() -> None:
    items = squares(3)
    with pytest.raises(InputError, match="function that starts"):
        Stream(items)  # type: ignore[arg-type]
    same = Stream(lambda: items)
    assert list(same) == [0, 1, 4]
    with pytest.raises(InputError, match="spent"):
        list(same)
    once = Once(squares(3))
    assert list(once) == [0, 1, 4]
    with pytest.raises(InputError, match="spent"):
        list(once)


def test_a_stream_is_whole_in_every_epoch() -> None:
    stream = Stream(lambda: squares(4))
    assert [list(stream) for _ in range(3)] == [[0, 1, 4, 9]] * 3
    again = [1, 2]
    assert [list(Stream(lambda: again)) for _ in range(2)] == [again] * 2
    listed = Stream(lambda: again)
    assert list(listed) == list(listed) == again  # a list may be walked twice


def test_batches_of_a_stream_lose_nothing() -> None:
    stream = Stream(lambda: squares(7))
    assert list(stream.batches(3)) == [[0, 1, 4], [9, 16, 25], [36]]
    with pytest.raises(InputError, match="0 items"):
        next(stream.batches(0))


def test_a_stream_reads_no_further_than_it_is_asked_to() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for x in range(1_000_000):
            read.append(x)
            yield x

    next(Stream(items).batches(4))
    assert read == [0, 1, 2, 3]


def test_shallow_sizes_are_blind_and_deep_ones_are_not() -> None:
    big = [bytes(1_000_000)]
    assert shallow_size(big) < 200
    assert deep_size(big) > 1_000_000
    assert deep_size({"key": (big, {"set"})}) > 1_000_000
    assert deep_size([big, big]) < 1_100_000  # once, however often it is held
    loop: list[object] = []
    loop.append(loop)
    assert deep_size(loop) < 200


def test_arrays_tensors_and_attributes_count() -> None:
    class Holder:
        def __init__(self) -> None:
            self.array = np.zeros(1000, np.float64)

    class Slotted:
        __slots__ = ("tensor",)

        def __init__(self) -> None:
            self.tensor = torch.zeros(1000)

    assert 8000 <= deep_size(np.zeros(1000)) < 8400
    assert 8000 <= deep_size(np.zeros(1000)[::2]) < 8600  # a view keeps all of it alive
    assert 8000 <= deep_size(Holder()) < 9500
    assert 4000 <= deep_size(Slotted()) < 5000
    tensor = torch.zeros(1000)
    assert deep_size([tensor, tensor[:10]]) < 5000


def test_a_footprint_is_that_of_a_step_by_hand() -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
    count = 20 * 30 + 30 + 30 * 5 + 5
    made = footprint(model, torch.zeros(8, 20), torch.optim.Adam)
    assert made.data == 8 * 20 * 4
    assert made.parameters == made.gradients == 4 * count
    assert made.buffers == 0
    assert made.optimizer_state == 4 * (2 * count + 4)  # two moments each, and a step for each of four tensors
    assert made.activations == 8 * 30 * 4  # ReLU's output, which is the second layer's input too
    assert made.total == sum(value for name, value in made.to_dict().items() if name != "total")
    plain = footprint(model, torch.zeros(8, 20), torch.optim.SGD)
    assert plain.optimizer_state == 0
    frozen = copy.deepcopy(model)
    frozen[0].requires_grad_(False)
    assert footprint(frozen, torch.zeros(8, 20)).gradients == 4 * (30 * 5 + 5)


def test_activations_grow_with_the_batch_and_parameters_do_not() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    small, large = (footprint(model, torch.zeros(b, 3, 9, 9)) for b in (4, 8))
    assert small.parameters == large.parameters
    assert 1.8 < large.activations / small.activations <= 2


def test_measuring_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    footprint(model, torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.optim.Adam)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
