"""How many images a second `torchweld.data.Batches` makes, beside the least that a loop by hand does.

The loop by hand indexes a float32 tensor that was normalised beforehand (four times the memory), in a fresh random
order. Everything takes turns, epoch by epoch, in one process with one thread; counted is the CPU time of that thread,
so that other work on the machine matters less. Figures are medians over the rounds.

    TORCHWELD_DATA=folder OMP_NUM_THREADS=1 python benchmarks/data_throughput.py

writes `benchmarks/results/data_throughput.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from torchweld import data
from torchweld.core import written_whole
from torchweld.data import Augmentation, Batches

RESULT = Path(__file__).parent / "results" / "data_throughput.md"
BATCH = 128
KINDS = {
    "no augmentation": None,
    "flip, shift by 2 pixels": Augmentation(flip=True, shift_pixels=2),
    "flip, shift, crop, rotate, shear": Augmentation(
        flip=True, shift_pixels=2, crop=(0.5, 1.0), rotate_degrees=15, shear_degrees=5
    ),
    "brightness and contrast": Augmentation(brightness=0.2, contrast=0.2),
    "erasing, half of the samples": Augmentation(erase=0.5),
    "mixup and cutmix": Augmentation(mixup=0.2, cutmix=1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    folder = os.environ.get("TORCHWELD_DATA")
    if not folder:
        raise SystemExit("set TORCHWELD_DATA to the folder that has fashion_mnist/")
    torch.set_num_threads(1)
    splits = data.read(Path(folder) / "fashion_mnist", holdout=0)
    count = len(splits.train)
    floats = splits.scale.normalised(torch.from_numpy(splits.train.inputs.copy()))
    labels = torch.from_numpy(splits.train.targets)

    def by_hand(epoch: int) -> Iterable[object]:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(epoch))
        return ((floats[rows], labels[rows]) for rows in order.split(BATCH))

    loops: dict[str, Callable[[int], Iterable[object]]] = {"by hand, float32 kept": by_hand}
    for name, augmentation in KINDS.items():
        loops[name] = Batches(splits.train, splits, BATCH, augmentation=augmentation).epoch
    taken: dict[str, list[float]] = {name: [] for name in loops}
    for epoch in range(rounds + 1):
        for name, loop in loops.items():
            start = time.thread_time()
            for _ in loop(epoch):
                pass
            if epoch:  # the first round warms up
                taken[name].append(time.thread_time() - start)
    hand = statistics.median(taken["by hand, float32 kept"])
    lines = [
        "# Batches a second",
        "",
        f"Fashion-MNIST, {count:,} images of 28x28, batches of {BATCH}, one thread, CPU time, median of {rounds} "
        f"epochs taken in turns; torch {torch.__version__}, {platform.machine()}, load {os.getloadavg()[0]:.1f}. "
        "`benchmarks/data_throughput.py`.",
        "",
        "| | images/s | ms a batch | time by hand / time |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, times in taken.items():
        seconds = statistics.median(times)
        each = seconds / (count / BATCH) * 1e3
        lines.append(f"| {name} | {count / seconds:,.0f} | {each:.3f} | {hand / seconds:.2f} |")
    with written_whole(RESULT) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
