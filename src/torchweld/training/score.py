"""The loss of a network on samples, one value each, and its scores over a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError
from torchweld.data import Batches, Dataset, Splits
from torchweld.layers.views import view_count
from torchweld.training.config import Config
from torchweld.training.losses import LOSSES, balanced_weights, by_sample
from torchweld.training.metrics import Scores, Tally
from torchweld.training.team import Team

if TYPE_CHECKING:
    from torchweld.training.machine import Machine


def per_sample(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Any,
    config: Config,
    weights: Tensor | None,
) -> tuple[Tensor, Tensor]:  # (B,), (B, K, ...)
    """Each sample's loss in float32, and the scores; with `r_drop` two passes and their symmetric divergence."""
    smoothing = config.smoothing
    scores = model(inputs).float()
    losses = loss(scores, targets, weights, smoothing)
    if config.r_drop:
        second = model(inputs).float()
        p, q = F.log_softmax(scores, 1), F.log_softmax(second, 1)
        divergence = by_sample(((p.exp() - q.exp()) * (p - q)).sum(1)) / 2
        losses = losses + loss(second, targets, weights, smoothing) + config.r_drop * divergence
    return losses, scores


def class_weights(config: Config, splits: Splits) -> Tensor | None:  # (K,)
    """Weights by how often each class occurs in the training part, where `config` asks for them."""
    if config.class_weights is None:
        return None
    if splits.task == "regress":
        raise InputError("class_weights: a regression has no classes; leave them out")
    counts = np.zeros(len(splits.classes), np.int64)
    targets = splits.train.targets
    for start in range(0, len(targets), 1024):  # masks may be larger than memory
        part = np.asarray(targets[np.arange(start, min(start + 1024, len(targets)))])
        counts += np.bincount(part.ravel(), minlength=len(counts))
    return balanced_weights(torch.from_numpy(counts))


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Dataset,
    splits: Splits,
    *,
    loss: str | None = None,
    batch_size: int = 256,
    machine: Machine | None = None,
    team: Team | None = None,
) -> Scores:
    """Loss and scores over a data set in eval mode; the model's modes are left as they were.

    The loss is the plain one, without smoothing or weights: cross-entropy in nats, or half the squared error.

    >>> from torchweld import data
    >>> splits = data.read("digits")
    >>> scores = evaluate(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), splits.held_out, splits)
    >>> scores.samples, scores.named, 0 <= scores.accuracy <= 1
    (179, 'accuracy', True)
    """
    team = team or Team()
    name = loss or ("squared" if splits.task == "regress" else "cross_entropy")
    size = min(batch_size, _fitting(dataset)) if dataset.inputs.ndim == 4 else batch_size
    size = max(1, size // view_count(model))
    channels_last = machine is not None and machine.channels_last
    batches = Batches(dataset, splits, max(size, team.world), shuffle=False, rank=team.rank, world=team.world,
                      channels_last=channels_last)  # fmt: skip
    tally = Tally(splits.task, len(splits.classes))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        for batch in batches.epoch(0):
            targets = batch.targets.to(device)
            scores = model(batch.inputs.to(device)).float()
            tally.add(scores, targets, LOSSES[name](scores, targets))
    finally:
        for module, mode in modes.items():
            module.training = mode
    if team.world > 1:
        tally.replace(team.total(tally.sums().to(device)).cpu())
    return tally.scores()


def _fitting(dataset: Dataset) -> int:
    """Images that together have about four million values, so that large ones do not fill the memory."""
    return max(1, 4_000_000 // int(np.prod(dataset.inputs.shape[1:])))
