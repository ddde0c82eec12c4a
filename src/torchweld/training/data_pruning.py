"""Dynamic data pruning: samples that the network does well on already sit out some epochs, and nothing is biased by it.

InfoBatch (Z. Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", ICLR 2024,
https://arxiv.org/abs/2303.04947). A sample whose last loss is below the mean of all sits the next epoch out with
probability p; if it stays, it counts 1 / (1 - p) times, so that the expected gradient is that of the whole set. The
last eighth of the epochs takes every sample.

Shapes: N samples, B batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from torchweld.data.draws import Integers, Purpose, uniform
from torchweld.training.team import Team

_PRUNED = 0.875  # of the epochs: the paper's delta


class DataPruning:
    """Each sample's newest loss, and its weight in the epoch that runs: 0 where it sits out.

    >>> pruning = DataPruning(0.5, epochs=8, samples=6, seed=0)
    >>> pruning.note(torch.arange(6), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 9.0]))
    >>> pruning.begin(2)
    >>> pruning.weights
    tensor([0., 0., 0., 2., 0., 1.])
    >>> pruning.begin(7)
    >>> pruning.weights
    tensor([1., 1., 1., 1., 1., 1.])
    """

    def __init__(self, probability: float, epochs: int, samples: int, seed: int) -> None:
        self.probability, self.epochs, self.seed = probability, epochs, seed
        self.losses = torch.full((samples,), torch.nan)  # (N,); NaN until a step has seen the sample
        self._set(torch.ones(samples))

    def _set(self, weights: Tensor) -> None:
        self.weights = weights  # (N,)
        self.rows: Integers | None = (
            weights.numpy().nonzero()[0] if self.probability else None
        )  # that take part, or all

    @property
    def kept(self) -> float:
        """The share of the samples that takes part."""
        return self.weights.count_nonzero().item() / len(self.weights)

    def begin(self, epoch: int, enough: Callable[[int], bool] = bool) -> None:
        """Draws who sits out `epoch`, counted from 0: a pure function of the losses and (seed, epoch, sample).

        Nobody does where those that would be left are not `enough`.
        """
        weights = torch.ones(len(self.losses))
        if self.probability and epoch < _PRUNED * self.epochs:
            easy = self.losses < self.losses.nanmean()
            drawn = uniform(self.seed, epoch, Purpose.PRUNE, np.arange(len(self.losses)), 1)[:, 0]
            out = easy & (torch.from_numpy(drawn) < self.probability)
            if enough(len(out) - int(out.sum())):
                weights[easy] = 1 / (1 - self.probability)
                weights[out] = 0
        self._set(weights)

    def note(
        self,
        rows: Tensor,  # (B,) of this process
        losses: Tensor,  # (B,)
        team: Team | None = None,
        samples: int = 0,
    ) -> None:
        """Keeps the losses of a step, on every process those of all; `samples` counts those of the whole team."""
        if not self.probability:
            return
        both = torch.stack((rows.to(losses.device, torch.float64), losses.detach().double()))
        rows, losses = (team.gathered(both, samples) if team is not None else both).cpu()
        self.losses[rows.long()] = losses.float()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps; nothing where no sample ever sits out."""
        return {"losses": self.losses, "weights": self.weights} if self.probability else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state()` gave."""
        if self.probability:
            self.losses = state["losses"]
            self._set(state["weights"])
