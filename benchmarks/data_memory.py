"""What is in memory: a list against a generator, an object against all it holds, and a training step by part.

    OMP_NUM_THREADS=1 python benchmarks/data_memory.py

writes `benchmarks/results/data_memory.md`. Python's and numpy's allocations are counted by tracemalloc, so nothing here
depends on the machine's load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from torchweld import data, models
from torchweld.core import written_whole

RESULT = Path(__file__).parent / "results" / "data_memory.md"
SIDE, COUNT, BATCH = 28, 20_000, 64


def picture(i: int) -> np.ndarray:
    """An image of its own, made when it is asked for."""
    return np.full((SIDE, SIDE), i % 256, np.uint8)


def main() -> None:
    ways: dict[str, Callable[[], Iterable[object]]] = {
        "a list of uint8 images": lambda: [picture(i) for i in range(COUNT)],
        "the same as float32": lambda: [picture(i).astype(np.float32) for i in range(COUNT)],
        "a generator of uint8 images": lambda: (picture(i) for i in range(COUNT)),
        "a generator, in batches of 64": lambda: data.Stream(lambda: (picture(i) for i in range(COUNT))).batches(BATCH),
    }
    lines = [
        "# What is in memory",
        "",
        f"{COUNT:,} images of {SIDE}x{SIDE}; bytes by tracemalloc. `benchmarks/data_memory.py`.",
        "",
        "| | items | the object alone | with all it holds | peak of a walk |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, start in ways.items():
        walk = data.walked(start)
        figures = (walk.items, walk.shallow_bytes, walk.deep_bytes, walk.peak_bytes)
        lines.append(f"| {name} | " + " | ".join(f"{figure:,}" for figure in figures) + " |")
    splits = data.read("digits")
    batch = data.Batches(splits.train, splits, BATCH).batch(0, 0)
    optimizers = {
        "SGD": torch.optim.SGD,
        "SGD with momentum": lambda parameters: torch.optim.SGD(parameters, momentum=0.9),
        "Adam": torch.optim.Adam,
    }
    kinds = ("data", "parameters", "buffers", "gradients", "optimizer_state", "activations", "total")
    lines += [
        "",
        f"A step of `branched_tiny` on {len(batch.rows)} digits of 8x8; bytes by `data.footprint`.",
        "",
        "| | " + " | ".join(kind.replace("_", " ") for kind in kinds) + " |",
        "| --- " + "| ---: " * len(kinds) + "|",
    ]
    for name, optimizer in optimizers.items():
        model = models.create("branched_tiny", 10, 1)
        made = data.footprint(model, batch.inputs, optimizer).to_dict()
        lines.append(f"| {name} | " + " | ".join(f"{made[kind]:,}" for kind in kinds) + " |")
    with written_whole(RESULT) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
