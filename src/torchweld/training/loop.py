"""The training loop: top to bottom on one screen; whatever happens around it is a watcher.

Shapes: B batch, C channels, H and W the image, N samples.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld import data, models
from torchweld.core import CheckFailed
from torchweld.training.augment import shifted, shifts
from torchweld.training.config import Config
from torchweld.training.order import batches
from torchweld.training.progress import Watcher
from torchweld.training.records import Record, Run
from torchweld.training.schedule import learning_rate
from torchweld.training.threads import fastest_threads, limited_threads


def train(config: Config, watchers: Sequence[Watcher] = ()) -> Run:
    """Trains the model that `config` names on the data that it names, from fresh weights drawn by its seed.

    The same config gives the same weights, bit for bit, with the same number of threads on the same machine.
    Raises `InputError` for names it does not know, `CheckFailed` if the loss leaves the finite numbers.
    """
    split = data.load(config.data, config.seed)
    images, labels = split.train_images, split.train_labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = models.create(config.model, len(split.classes), images.shape[1])
    threads = config.threads or _fastest(model, images[: config.batch_size], labels[: config.batch_size])
    decayed = [p for p in model.parameters() if p.ndim > 1]  # neither biases nor norms are held near zero
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True)
    history: list[Record] = []
    started = time.perf_counter()
    try:
        for watcher in watchers:
            watcher.begin(config)
        with limited_threads(threads):
            for epoch in range(config.epochs):
                began, rate, loss_sum, right = time.perf_counter(), 0.0, 0.0, 0
                model.train()
                plan = batches(len(labels), config.batch_size, config.seed, epoch)
                moves = shifts(len(labels), config.shift_pixels, config.seed, epoch)
                for i, rows in enumerate(plan):
                    rate = learning_rate(config, epoch * len(plan) + i, len(plan))
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    scores = model(shifted(images[rows], moves[rows]))
                    loss = F.cross_entropy(scores, labels[rows])
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    loss_sum += loss.item() * len(rows)
                    right += int((scores.argmax(1) == labels[rows]).sum())
                if not math.isfinite(loss_sum):
                    raise CheckFailed(f"the loss is not finite in epoch {epoch + 1}; lower learning_rate={rate:g}")
                test_loss, test_accuracy = evaluate(model, split.test_images, split.test_labels)
                figures = (loss_sum / len(labels), right / len(labels), test_loss, test_accuracy)
                history.append(Record(epoch + 1, rate, *figures, time.perf_counter() - began))
                for watcher in watchers:
                    watcher.epoch_done(history[-1])
    finally:
        for watcher in watchers:
            watcher.end()
    parameters = sum(p.numel() for p in model.parameters())
    return Run(config, model.eval(), tuple(history), parameters, threads, time.perf_counter() - started)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: Tensor,  # (N, C, H, W)
    labels: Tensor,  # (N,)
    batch_size: int = 256,
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and share of right answers, in eval mode; the model's modes are left as they were."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    parts = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    loss_sum, right = 0.0, 0
    for x, y in parts:
        scores = model(x)
        loss_sum += F.cross_entropy(scores, y, reduction="sum").item()
        right += int((scores.argmax(1) == y).sum())
    for module, mode in modes.items():
        module.training = mode
    return loss_sum / len(labels), right / len(labels)


def _fastest(
    model: nn.Module,
    images: Tensor,  # (B, C, H, W)
    labels: Tensor,  # (B,)
) -> int:
    """The better number of threads for a step, tried on a copy so that the weights stay fresh."""
    trial = copy.deepcopy(model)
    return fastest_threads(lambda: F.cross_entropy(trial(images), labels).backward())
