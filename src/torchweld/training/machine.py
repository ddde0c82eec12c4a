"""What runs a step fastest here and now: threads, dtype and memory layout, found by timing a few steps of each."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from torchweld.core import InputError
from torchweld.training.config import Config
from torchweld.training.memory import kept_memory
from torchweld.training.threads import limited_threads

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ROUNDS, _GIVE_UP = 3, 2.0  # steps of each candidate; one this many times slower than the best is tried no more


@dataclass(frozen=True)
class Machine:
    """Where and how steps run. The same three choices on the same machine repeat a run bit for bit."""

    device: str
    threads: int
    dtype: str
    channels_last: bool

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Inside, torch uses this many threads, and the caller's random generators are put back afterwards."""
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices), limited_threads(self.threads):
            yield

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Inside, operators that may run in the lower dtype do."""
        with ExitStack() as stack:
            if self.dtype != "float32":
                stack.enter_context(torch.autocast(torch.device(self.device).type, _DTYPES[self.dtype]))
            yield

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def device_of(config: Config) -> str:
    """The device that `config` asks for; `auto` is CUDA where there is one. Raises `InputError` if it is not there."""
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=config.device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={config.device!r} cannot be used here ({str(error).splitlines()[0]})") from None
    return config.device


@kept_memory()
def fastest_machine(
    config: Config,
    step: Callable[[Machine], Callable[[], object]],
    images: bool,
) -> Machine:
    """The settings that `config` leaves open, chosen by the median of three steps each, timed in turns.

    `step(machine)` makes a step to be timed under a candidate. `images`: whether there is a layout to choose.
    """
    device = device_of(config)
    threads = (config.threads,) if config.threads else tuple(sorted({1, torch.get_num_threads()}))
    dtypes = (config.dtype,) if config.dtype else ("float32", "bfloat16")
    layouts = (config.channels_last,) if config.channels_last is not None else (False, True) if images else (False,)
    candidates = [Machine(device, *choice) for choice in itertools.product(threads, dtypes, layouts)]
    if len(candidates) == 1:
        return candidates[0]
    steps = {machine: step(machine) for machine in candidates}
    taken: dict[Machine, list[float]] = {machine: [] for machine in candidates}
    for round_number in range(_ROUNDS + 1):  # the first warms up
        for machine in candidates:
            if round_number > 1 and min(taken[machine]) > _GIVE_UP * min(min(t) for t in taken.values()):
                continue
            with machine.environment(), machine.precision():
                start = time.perf_counter()
                steps[machine]()
                if device.startswith("cuda"):
                    torch.cuda.synchronize()
                passed = time.perf_counter() - start
            taken[machine] = [passed] if round_number <= 1 else [*taken[machine], passed]
    return min(candidates, key=lambda machine: statistics.median(taken[machine]))
