"""A run with everything that draws or remembers, stopped or killed, and states compared to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchweld.data import Augmentation
from torchweld.training import Config, Record, Shelf, StepRecord
from torchweld.training.session import Session

# All that draws or remembers: dropout, augmentation with mixing, accumulation, a running mean, clipping, warm-up.
EVERYTHING = Config(
    model="branched_nano",
    epochs=3,
    batch_size=96,
    accumulate=2,
    dropout=0.3,
    ema=0.95,
    clip_norm=1.0,
    augmentation=Augmentation(shift_pixels=1, rotate_degrees=10.0, erase=0.3, mixup=0.2),
    threads=1,
    dtype="float32",
    channels_last=True,
    trackers=(),
)


class StopAt:
    """Asks for an end, as Ctrl-C does, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def begin(self, session: Session) -> None: ...

    def step_done(self, session: Session, record: StepRecord) -> None:
        if record.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def epoch_done(self, session: Session, record: Record) -> None: ...

    def end(self, session: Session) -> None: ...


def assert_same(a: Any, b: Any, place: str = "") -> None:
    """Equal to the bit, and of the same types, all the way down."""
    assert type(a) is type(b), place
    if isinstance(a, Tensor):
        assert torch.equal(a, b), place
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_same(a[key], b[key], f"{place}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for i, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{place}/{i}")
    else:
        assert a == b, place


def final_state(folder: Path) -> dict[str, Any]:
    """The newest checkpoint without what a clock decides."""
    found = Shelf(folder / "checkpoints").latest()
    assert found is not None
    state = found[1]
    state["progress"].pop("seconds")
    state["history"] = [Record(**record).figures() for record in state["history"]]
    return state


KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from torchweld.training import load_config, resume, train
folder = Path(sys.argv[1])
if (folder / "config.json").exists():
    resume(folder)
else:
    train(load_config(Path(sys.argv[2])), folder)
"""


def wait_for_a_new_step(folder: Path, process: subprocess.Popen[bytes], then_seconds: float) -> None:
    """Until the process has written a checkpoint of its own, and a random moment longer."""
    begun = time.time()
    while process.poll() is None:
        files = [path for path in (folder / "checkpoints").glob("step-*") if _written(path) > begun]
        if len(files) > 1:
            time.sleep(then_seconds)
            return
        time.sleep(0.01)
        assert time.time() - begun < 300


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # let go meanwhile
        return 0.0
