"""The notes' trainer: linear regression on mini-batches, to see what an optimiser does.

Its data: NASA's airfoil self-noise measurements, standardised; its loss: half the mean squared error.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from torchweld.core import InputError, written_whole
from torchweld.data.order import rows_of, steps

_EVERY = 100  # samples between two records


@dataclass(frozen=True)
class LinearFit:
    """`losses[i]`: MSE / 2 over all samples after `samples[i]` of them, from the untrained start (0) on."""

    weights: tuple[float, ...]
    bias: float
    samples: tuple[int, ...]
    losses: tuple[float, ...]
    samples_per_epoch: int
    seconds_per_epoch: float

    @property
    def loss(self) -> float:
        """The last one."""
        return self.losses[-1]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def plot(self, target: str | os.PathLike[str], title: str = "") -> None:
        """Writes the loss against epochs as a picture; its format by the target's suffix."""
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(np.array(self.samples) / self.samples_per_epoch, self.losses, linewidth=1.6)
        axes.set(xlabel="epoch", ylabel="loss (MSE / 2)", title=title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        with written_whole(target) as temporary:
            figure.savefig(temporary, dpi=130)


def fit_linear(
    optimizer_fn: Callable[..., torch.optim.Optimizer],
    optimizer_hyperparams: Mapping[str, Any],
    features: Tensor,  # (N, F)
    labels: Tensor,  # (N,) or (N, 1)
    batch_size: int = 10,
    num_epochs: int = 2,
    seed: int = 0,
) -> LinearFit:
    """Linear regression by `optimizer_fn(parameters, **optimizer_hyperparams)`, such as `torch.optim.SGD`.

    The loss over all samples is recorded whenever the samples seen pass a multiple of 100, and at the end of each
    epoch. Weights start at normal numbers of deviation 0.01, the bias at 0. Raises `InputError` for shapes that do not
    fit and a batch size or number of epochs below 1.

    >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> fit = fit_linear(torch.optim.SGD, {"lr": 0.05}, x, x @ torch.tensor([1.0, -2.0, 0.5]), num_epochs=4)
    >>> [round(w, 2) for w in fit.weights], fit.loss < 1e-4
    ([1.0, -2.0, 0.5], True)
    """
    if features.ndim != 2 or labels.numel() != len(features) or len(features) == 0:
        raise InputError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)} do not fit: (N, F) and (N,)"
        )
    if batch_size < 1 or num_epochs < 1:
        raise InputError(f"batch_size={batch_size} and num_epochs={num_epochs} must be 1 or more")
    features, labels = features.float(), labels.float().view(-1, 1)
    count = len(features)
    net = nn.Linear(features.shape[1], 1)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        net.weight.copy_(0.01 * torch.randn(net.weight.shape, generator=random))
        net.bias.zero_()
    optimizer = optimizer_fn(net.parameters(), **optimizer_hyperparams)

    @torch.no_grad()
    def whole_loss() -> float:
        return float(((net(features) - labels) ** 2).mean() / 2)

    seen, samples, losses, began = 0, [0], [whole_loss()], time.perf_counter()
    for epoch in range(num_epochs):
        for step in range(steps(count, batch_size)):
            rows = torch.from_numpy(np.array(rows_of(step, count, batch_size, seed, epoch)))
            loss = ((net(features[rows]) - labels[rows]) ** 2).mean() / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            before, seen = seen, seen + len(rows)
            # Batch sizes that do not divide 100 pass its multiples without meeting them.
            if before // _EVERY != seen // _EVERY or seen % count == 0:
                samples.append(seen)
                losses.append(whole_loss())
    seconds = (time.perf_counter() - began) / num_epochs
    bias = float(net.bias.detach())
    return LinearFit(tuple(net.weight.detach()[0].tolist()), bias, tuple(samples), tuple(losses), count, seconds)
