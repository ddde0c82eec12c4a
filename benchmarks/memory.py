"""What it saves that freed memory stays with the process while it trains.

    python benchmarks/memory.py --threads 2 --rounds 5

Two epochs of the recipe `fashion` on 12,800 random images of 28x28, bfloat16, with `kept_memory` and without, each run
in a process of its own, in turns. Speed is of the second epoch; page faults are of both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from torchweld.core import written_whole
from torchweld.data import Dataset, Scale, Splits
from torchweld.training import memory, recipe, train
from torchweld.training.records import Record, StepRecord
from torchweld.training.session import Session

RESULT = Path(__file__).parent / "results" / "memory.md"


class Watched:
    """The speed of the last epoch, and the page faults of all steps."""

    def begin(self, session: Session) -> None:
        self.steps, self.faults = 0, -faults()

    def step_done(self, session: Session, record: StepRecord) -> None:
        self.steps += 1

    def epoch_done(self, session: Session, record: Record) -> None:
        self.speed = record.images_per_second

    def end(self, session: Session) -> None:
        self.faults += faults()


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def one(threads: int) -> dict[str, float]:
    """A run in this process."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12_800, 1, 28, 28), np.uint8)
    whole = Dataset(images, random.integers(0, 10, len(images)), [str(row) for row in range(len(images))])
    classes = tuple(map(str, range(10)))
    splits = Splits(whole, whole.part(np.arange(0)), None, "classify", classes, Scale((0.5,), (0.3,), classes=10))
    config = replace(recipe("fashion"), epochs=2, data_pruning=0.0, threads=threads, dtype="bfloat16",
                     channels_last=True, trackers=())  # fmt: skip
    watched = Watched()
    train(config, None, [watched], splits)
    return {"speed": watched.speed, "faults": watched.faults / watched.steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=("kept", "handed back"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        with patch.object(memory, "_glibc", (lambda: None) if arguments.one == "handed back" else memory._glibc):
            print(json.dumps(one(arguments.threads)))
        return
    load = os.getloadavg()[0]
    runs: dict[str, list[dict[str, float]]] = {"kept": [], "handed back": []}
    for _ in range(arguments.rounds):
        for kind, found in runs.items():
            command = [sys.executable, __file__, "--threads", str(arguments.threads), "--one", kind]
            found.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
            print(
                f"{kind}: {found[-1]['speed']:.0f} images/s, {found[-1]['faults']:.0f} faults a step", file=sys.stderr
            )
    ratios = [kept["speed"] / back["speed"] for kept, back in zip(runs["kept"], runs["handed back"], strict=True)]
    lines = [
        "# Freed memory kept while training",
        "",
        f"`python benchmarks/memory.py --threads {arguments.threads} --rounds {arguments.rounds}`: recipe `fashion` on "
        f"random images, bfloat16, {arguments.threads} threads; {arguments.rounds} runs of each kind in processes of "
        f"their own, in turns; medians. Load before: {load:.1f}. torch {torch.__version__}.",
        "",
        "| freed memory | images/s | page faults a step |",
        "| --- | --- | --- |",
        *(
            f"| {kind} | {statistics.median(run['speed'] for run in found):,.0f} | "
            f"{statistics.median(run['faults'] for run in found):,.0f} |"
            for kind, found in runs.items()
        ),
        "",
        f"Kept / handed back, by turn: median {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}).",
        "",
    ]
    with written_whole(RESULT) as target:
        target.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
