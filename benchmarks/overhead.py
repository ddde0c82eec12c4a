"""What the training loop costs beside a bare hand-written one, Lightning and accelerate: same network, data, dtype.

    pip install lightning accelerate        # rows of what is not installed are left out
    python benchmarks/overhead.py --blocks 20 --threads 1

Each block is one pass over the same 1,280 images of Fashion-MNIST's size (random, so that no data are needed), in
batches of 128; the loops take turns, in an order that changes from block to block. The bare loop keeps no account of
anything: it neither reads the loss nor counts right answers. The others run as their manuals have them, without logger,
checkpoints or progress bar. Ratios are of blocks that ran next to each other; the interval is of their median, by
bootstrap.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch.nn import functional as F

from torchweld import models
from torchweld.core import written_whole
from torchweld.data import Batches, Dataset, Scale, Splits
from torchweld.training import Config
from torchweld.training.loop import run_epoch
from torchweld.training.session import new_session
from torchweld.training.team import Team

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
importlib.import_module("tests.conftest")  # defines torchvision's operators where its compiled part does not load
CONFIG = Config(
    model="compact_small",
    batch_size=128,
    epochs=10**6,
    warmup_epochs=0,
    holdout=0.0,
    trackers=(),
    schedule="constant",
    learning_rate=0.01,
    channels_last=True,
    weight_decay=0.0,
)


def splits(samples: int) -> Splits:
    """Random images with random labels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (samples, 1, 28, 28), dtype=np.uint8)
    whole = Dataset(images, generator.integers(0, 10, samples), [str(i) for i in range(samples)])
    nothing, scale = whole.part(np.arange(0)), Scale((0.5,), (0.3,), classes=10)
    return Splits(whole, nothing, None, "classify", tuple("0123456789"), scale)


def fresh(config: Config) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The network and the optimiser that all of them train."""
    torch.manual_seed(0)
    model = models.create(config.model, 10, 1).to(memory_format=torch.channels_last)
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)


def ours(config: Config, data: Splits) -> Callable[[], float]:
    session = new_session(config, Team(), None, data)

    def block() -> float:
        with session.machine.environment():
            start = time.perf_counter()
            run_epoch(session)
            return time.perf_counter() - start

    return block


def bare(config: Config, data: Splits) -> Callable[[], float]:
    model, optimizer = fresh(config)
    images, labels = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.targets)
    mixed = config.dtype == "bfloat16"

    def block() -> float:
        start = time.perf_counter()
        for rows in torch.randperm(len(images)).split(config.batch_size):
            x = images[rows].float().sub_(0.5 * 255).div_(0.3 * 255).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = F.cross_entropy(model(x), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - start

    return block


def accelerate(config: Config, data: Splits) -> Callable[[], float]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if config.dtype == "bfloat16" else "no")
    batches = Batches(data.train, data, config.batch_size, channels_last=True)
    model, optimizer = accelerator.prepare(*fresh(config))
    epoch = iter(range(10**6))

    def block() -> float:
        start = time.perf_counter()
        for batch in batches.epoch(next(epoch)):
            optimizer.zero_grad()
            with accelerator.autocast():
                loss = F.cross_entropy(model(batch.inputs), batch.targets)
            accelerator.backward(loss)
            optimizer.step()
        return time.perf_counter() - start

    return block


def lightning(config: Config, data: Splits) -> Callable[[], float]:
    import lightning as L

    batches = Batches(data.train, data, config.batch_size, channels_last=True)
    epoch = iter(range(10**6))

    class Epochs(torch.utils.data.IterableDataset):
        def __iter__(self):
            return ((batch.inputs, batch.targets) for batch in batches.epoch(next(epoch)))

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.optimizer = fresh(config)
            self.seconds = 0.0

        def training_step(self, batch, _):
            x, y = batch
            return F.cross_entropy(self.model(x), y)

        def configure_optimizers(self):
            return self.optimizer

        def on_train_epoch_start(self) -> None:
            self.start = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.perf_counter() - self.start

    module = Module()
    loader = torch.utils.data.DataLoader(Epochs(), batch_size=None)
    precision = "bf16-mixed" if config.dtype == "bfloat16" else "32-true"

    def block() -> float:
        off = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"), False)
        trainer = L.Trainer(accelerator="cpu", max_epochs=1, precision=precision, **off)
        trainer.fit(module, loader)
        return module.seconds

    return block


def interval(ratios: list[float]) -> tuple[float, float]:
    """95% of the medians of resampled ratios."""
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(ratios, (2000, len(ratios))), axis=1)
    return float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--samples", type=int, default=1280)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    config = replace(CONFIG, threads=arguments.threads, dtype=arguments.dtype)
    data = splits(arguments.samples)
    loops: dict[str, Callable[[], float]] = {}
    for make in (bare, ours, accelerate, lightning):
        try:
            loops[make.__name__] = make(config, data)
        except ImportError as error:
            print(f"left out: {error}")
    taken: dict[str, list[float]] = {name: [] for name in loops}
    order = random.Random(0)
    for block in loops.values():
        block()  # the first warms up
    for _ in track(range(arguments.blocks), "blocks"):
        for name in order.sample(list(loops), len(loops)):
            taken[name].append(loops[name]())
    load = os.getloadavg()[0]
    lines = []
    for name, times in taken.items():
        ratios = [b / t for b, t in zip(taken["bare"], times, strict=True)]
        low, high = interval(ratios)
        speed = arguments.samples / statistics.median(times)
        lines.append(f"| {name} | {speed:,.0f} | {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |")
    text = "\n".join(
        [
            "# The training loop beside others",
            "",
            f"`python benchmarks/overhead.py --blocks {arguments.blocks} --threads {arguments.threads} --dtype "
            f"{arguments.dtype}`: `compact_small` (1.2M parameters) on 28x28 images, batches of 128, "
            f"{arguments.blocks} blocks of {arguments.samples} images in turns; torch {torch.__version__}, load "
            f"{load:.1f}.",
            "",
            "| loop | images/s | speed / bare loop's | 95% interval |",
            "| --- | --- | --- | --- |",
            *lines,
            "",
        ]
    )
    with written_whole(HERE / "results" / "overhead.md") as target:
        target.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
