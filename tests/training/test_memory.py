"""Freed memory is kept inside and handed back afterwards, whatever happens; without glibc nothing is touched."""

from __future__ import annotations

import sys

import pytest
import torch

from torchweld.training import memory
from torchweld.training.memory import kept_memory


class Spoken:
    """Stands for the C library, and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, ...]] = []

    def mallopt(self, option: int, value: int) -> None:
        self.told.append((option, value))

    def malloc_trim(self, pad: int) -> None:
        self.told.append((pad,))


def test_what_is_set_is_set_back_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Spoken()
    monkeypatch.setattr(memory, "_glibc", lambda: libc)

    def fails() -> None:
        with kept_memory():
            assert libc.told == [(-1, 2**31 - 1), (-3, 2**31 - 1)]
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert libc.told[2:] == [(-1, 64 << 20), (-3, 32 << 20), (0,)]


def test_without_glibc_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with kept_memory():
        assert torch.ones(3).sum() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_a_freed_block_stays_inside_and_goes_afterwards() -> None:
    def resident() -> int:  # MiB
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096 >> 20

    if memory._glibc() is None:
        pytest.skip("another C library")
    before = resident()
    with kept_memory():
        block = torch.ones(64 << 20)  # 256 MiB
        full = resident()
        del block
        kept = resident()
    assert full - before > 200
    assert kept - before > 200
    assert resident() - before < 60
