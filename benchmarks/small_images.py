"""What `SmallImageConv2d` saves: forward and backward of one layer, beside `nn.Conv2d`, in turns.

    python benchmarks/small_images.py --threads 1 --turns 15

Writes `results/small_images.md`. Ratios are of medians, torch's time over ours; above 1 ours is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from torchweld.core import written_whole
from torchweld.layers import SmallImageConv2d
from torchweld.training.memory import kept_memory

TARGET = Path(__file__).parent / "results" / "small_images.md"
LAYERS = [(128, 256, 3), (256, 256, 3), (128, 512, 2), (128, 512, 4), (128, 256, 4), (128, 256, 7)]  # B, channels, size


def step(conv: nn.Conv2d, x: torch.Tensor, dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        y = conv(x)
    y.backward(torch.ones_like(y))
    conv.zero_grad(set_to_none=True)
    x.grad = None


@kept_memory()
def measured(batch: int, channels: int, size: int, dtype: torch.dtype, turns: int) -> tuple[float, float]:
    """Milliseconds of torch's layer and of ours."""
    x = torch.randn(batch, channels, size, size).to(memory_format=torch.channels_last).requires_grad_()
    layers = [made(channels, channels, 3, padding=1, bias=False) for made in (nn.Conv2d, SmallImageConv2d)]
    times: list[list[float]] = [[], []]
    for turn in range(turns + 2):
        for layer, own in zip(layers, times, strict=True):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            start = time.perf_counter()
            step(layer, x, dtype)
            if turn >= 2:
                own.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    lines = [
        "# Convolutions over small images, trained",
        "",
        f"`python benchmarks/small_images.py --threads {arguments.threads}`: forward and backward of one padded 3x3 "
        f"convolution by `nn.Conv2d` and by `SmallImageConv2d`, in turns; medians of {arguments.turns}; torch "
        f"{torch.__version__}, load {load:.1f} before. Where more than 4x4 pixels come out, ours is torch's own.",
        "",
        "| batch | channels | image | dtype | torch ms | ours ms | torch / ours |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for dtype in (torch.bfloat16, torch.float32):
        for batch, channels, size in LAYERS:
            torchs, ours = measured(batch, channels, size, dtype, arguments.turns)
            named = str(dtype).removeprefix("torch.")
            lines.append(f"| {batch} | {channels} | {size}x{size} | {named} | {torchs:.1f} | {ours:.1f} | "
                         f"{torchs / ours:.2f} |")  # fmt: skip
            print(lines[-1], flush=True)
    with written_whole(TARGET) as target:
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
