"""Does training wide and running thin pay? Each block of `torchweld.expand` against none, on Fashion-MNIST.

10,000 training images (a fixed choice, the same for every run), the whole test set. Two networks: a plain convolutional
one and one with residual connections. Each is trained as it is, then as each block expands it, from the same initial
weights and in the same order of images; afterwards it is collapsed, so that all are tested at one inference cost. The
test accuracy is the collapsed network's after the last epoch: no epoch is chosen by it.

    TORCHWELD_DATA=folder OMP_NUM_THREADS=1 python benchmarks/expand_fashion.py

Finished runs stand in `benchmarks/results/expand_fashion.jsonl` and are not run again; the table is written to
`benchmarks/results/expand_fashion.md` after every run.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchweld as tw
from torchweld.core import relative_error, written_whole

RESULTS = Path(__file__).parent / "results"
BLOCKS = ("none", "rep", "asymmetric", "diverse", "wide(3)")
TRAIN_IMAGES, BATCH, EPOCHS, SEEDS = 10_000, 100, 5, 3
PEAK_LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
CALIBRATION_IMAGES = 256
STUDENT_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}  # 95%, by pairs


class Residual(nn.Module):
    """`relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))`."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out))
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        same = stride == 1 and channels == out
        short = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Identity() if same else short

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def plain() -> nn.Module:
    """Five convolutions of 3x3, each with batch norm and ReLU, three of them at a stride; 52,094 parameters."""
    layers: list[nn.Module] = []
    for channels, out, stride in ((1, 12, 2), (12, 24, 1), (24, 32, 2), (32, 48, 1), (48, 64, 2)):
        layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def residual() -> nn.Module:
    """A stem and three residual blocks at 12, 24 and 48 channels; 44,014 parameters."""
    stem = (nn.Conv2d(1, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
    blocks = (Residual(12, 12, 1), Residual(12, 24, 2), Residual(24, 48, 2))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))


NETWORKS = {"plain": plain, "residual": residual}


def fashion(split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) standardised by the training set's mean and deviation, and labels (N,)."""
    folder = os.environ.get("TORCHWELD_DATA")
    if not folder:
        raise SystemExit("set TORCHWELD_DATA to the folder that has fashion_mnist/")
    root = Path(folder) / "fashion_mnist"
    images = np.frombuffer(gzip.decompress((root / f"{split}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((root / f"{split}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    x = torch.from_numpy(images.reshape(-1, 1, 28, 28).astype(np.float32)) / 255
    return (x - 0.2860) / 0.3530, torch.from_numpy(labels.astype(np.int64))


def run(network: str, block: str, seed: int, data: tuple[Tensor, ...], epochs: int) -> dict[str, Any]:
    """Trains one network and returns what is known of it."""
    train_x, train_y, test_x, test_y = data
    torch.manual_seed(seed)
    model = NETWORKS[network]()
    form = {name: t.shape for name, t in model.state_dict().items()}
    if block != "none":
        model = tw.expand(model, block, calibrate=train_x[:CALIBRATION_IMAGES], seed=seed)
    model = model.to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=PEAK_LR, momentum=MOMENTUM, nesterov=True)
    steps = epochs * (len(train_x) // BATCH)
    orders = torch.Generator().manual_seed(1000 + seed)
    started, step, first_loss, losses = time.process_time(), 0, math.nan, []
    model.train()
    for _ in range(epochs):
        losses = []
        for rows in torch.randperm(len(train_x), generator=orders).split(BATCH):
            for group in optimiser.param_groups:
                group["lr"] = _lr(step, steps)
            x = _augmented(train_x[rows], orders).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(x), train_y[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            first_loss = loss.item() if step == 0 else first_loss
            losses.append(loss.item())
            step += 1
    seconds = time.process_time() - started
    model.eval()
    thin = model if block == "none" else tw.collapse(model)
    logits, wide_logits = _logits(thin, test_x), _logits(model, test_x)
    return {
        "network": network,
        "block": block,
        "seed": seed,
        "epochs": epochs,
        "test_accuracy": (logits.argmax(1) == test_y).float().mean().item(),
        "test_loss": F.cross_entropy(logits, test_y).item(),
        "train_loss": statistics.fmean(losses),
        "first_loss": first_loss,
        "parameters_thin": sum(p.numel() for p in thin.parameters()),
        "parameters_trained": sum(p.numel() for p in model.parameters()),
        "same_state_dict_form": {name: t.shape for name, t in thin.state_dict().items()} == form,
        "collapse_error": relative_error(logits, wide_logits),
        "train_cpu_seconds": seconds,
    }


def _lr(step: int, steps: int) -> float:
    """Linear warm-up over a tenth of the steps, then cosine to 0."""
    warm = max(1, steps // 10)
    if step < warm:
        return PEAK_LR * (step + 1) / warm
    return PEAK_LR * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def _augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored left to right, each image with probability one half."""
    flip = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(3), x)


@torch.no_grad()
def _logits(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([model(part) for part in x.split(1000)])


def table(rows: list[dict[str, Any]], epochs: int) -> str:
    """The results as Markdown: mean and spread over seeds, and the paired difference to none."""
    lines = [
        "# Blocks of `expand` on Fashion-MNIST",
        "",
        f"{TRAIN_IMAGES:,} training images, {epochs} epochs of batch {BATCH}, SGD with momentum (peak learning rate "
        f"{PEAK_LR}, warm-up and cosine), mirrored images; tested on 10,000 images after the last epoch, collapsed.",
        "Initial weights and the order of images are the same for every block of one seed. Spread is the standard "
        "deviation over seeds; the difference to none is taken seed by seed, with its standard error.",
        f"torch {torch.__version__}, one thread. Made by `python benchmarks/expand_fashion.py`.",
    ]
    for network in NETWORKS:
        mine = [r for r in rows if r["network"] == network]
        if not mine:
            continue
        base, beyond = {r["seed"]: r for r in mine if r["block"] == "none"}, list[str]()
        lines += [
            "",
            f"## {network}: {mine[0]['parameters_thin']:,} parameters when run",
            "",
            "| block | seeds | test accuracy % | difference to none | train loss | first loss | parameters trained "
            "| training CPU time | collapse error |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for block in BLOCKS:
            of = [r for r in mine if r["block"] == block]
            if not of:
                continue
            accuracy = [100 * r["test_accuracy"] for r in of]
            pairs = [100 * (r["test_accuracy"] - base[r["seed"]]["test_accuracy"]) for r in of if r["seed"] in base]
            times = [r["train_cpu_seconds"] / base[r["seed"]]["train_cpu_seconds"] for r in of if r["seed"] in base]
            lines.append(
                f"| {block} | {len(of)} | {_spread(accuracy)} | {_error(pairs) if block != 'none' else ''} "
                f"| {_mean(of, 'train_loss'):.3f} | {_mean(of, 'first_loss'):.3f} "
                f"| {of[0]['parameters_trained']:,} | x{statistics.fmean(times) if times else math.nan:.1f} "
                f"| {max(r['collapse_error'] for r in of):.1e} |"
            )
            if block != "none" and _beyond_chance(pairs):
                beyond.append(block)
        lines += ["", f"Differences to none beyond chance (paired t-test, 95%): {', '.join(beyond) or 'not one'}."]
    return "\n".join([*lines, ""])


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.fmean(r[key] for r in rows)


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def _error(values: list[float]) -> str:
    if not values:
        return ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):+.2f}{error}"


def _beyond_chance(values: list[float]) -> bool:
    if len(values) < 2:
        return False
    t = STUDENT_T.get(len(values), 1.96)
    return abs(statistics.fmean(values)) > t * statistics.stdev(values) / math.sqrt(len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--results", type=Path, default=RESULTS / "expand_fashion.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, y = fashion("train")
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:TRAIN_IMAGES]
    data = (x[chosen], y[chosen], *fashion("t10k"))
    done = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    done = [r for r in done if r["epochs"] == options.epochs]
    known = {(r["network"], r["block"], r["seed"]) for r in done}
    plan = [(n, b, s) for s in range(options.seeds) for n in NETWORKS for b in BLOCKS]
    waiting = [p for p in plan if p not in known]
    started = time.perf_counter()
    for count, (network, block, seed) in enumerate(waiting, 1):
        row = run(network, block, seed, data, options.epochs)
        done.append(row)
        options.results.parent.mkdir(parents=True, exist_ok=True)
        with options.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        _write(options.results, done, options.epochs)
        left = (time.perf_counter() - started) / count * (len(waiting) - count)
        print(
            f"{count}/{len(waiting)} {network} {block} seed {seed}: {row['test_accuracy']:.2%} "
            f"in {row['train_cpu_seconds']:.0f} s; about {left / 60:.0f} min left",
            flush=True,
        )
    _write(options.results, done, options.epochs)
    print(table(done, options.epochs))


def _write(results: Path, done: list[dict[str, Any]], epochs: int) -> None:
    with written_whole(results.with_suffix(".md")) as path:
        path.write_text(table(done, epochs))


if __name__ == "__main__":
    main()
