"""What a network is judged by, all of it from one confusion matrix: accuracy, confusion, intersection over union.

For regression the share of variance explained takes accuracy's place. Checked in the tests against torchmetrics, which
is no dependency: importing it imports torchvision, which fails where that was not built for this torch.

Shapes: B samples, K classes, ... pixels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """Means over a set of samples. `score` is what an epoch is chosen by, higher is better; `named` says what it is.

    `confusion[i][j]`: samples or pixels of class i taken for j, None for regression; `iou[i]`: intersection over union
    of class i, summed over all samples before dividing.
    """

    samples: int
    loss: float
    score: float
    named: str
    accuracy: float | None = None
    iou: tuple[float, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def confusion_matrix(
    scores: Tensor,  # (B, K, ...)
    targets: Tensor,  # (B, ...)
) -> Tensor:  # (K, K) rows are true classes
    """How often each class was taken for each.

    >>> confusion_matrix(torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1, 1]))
    tensor([[1, 0],
            [1, 1]])
    """
    classes = scores.shape[1]
    pairs = targets.long() * classes + scores.argmax(1)
    return torch.bincount(pairs.flatten(), minlength=classes * classes).view(classes, classes)


def intersection_over_union(confusion: Tensor) -> Tensor:  # (K,)
    """`true positives / (true positives + false positives + false negatives)`; 1 for a class that nobody has.

    >>> intersection_over_union(torch.tensor([[1, 0], [1, 1]]))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    both = confusion.diagonal().double()
    either = confusion.sum(0) + confusion.sum(1) - both
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


class Tally:
    """Sums over batches; `scores()` are the means. What is summed is a few numbers, whatever the set's size."""

    def __init__(self, task: str, classes: int) -> None:
        self.task = task
        self.samples, self.loss_sum = 0, 0.0
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self.moments = torch.zeros(3, dtype=torch.float64)  # of the targets: sum, sum of squares; sum of squared errors

    def add(
        self,
        scores: Tensor,  # (B, K, ...) or (B, T)
        targets: Tensor,
        losses: Tensor,  # (B,)
    ) -> None:
        """One more batch."""
        self.samples += len(losses)
        self.loss_sum += losses.sum().item()
        if self.task == "regress":
            t, error = targets.double(), scores.double() - targets.double()
            self.moments += torch.stack((t.mean(1).sum(), (t**2).mean(1).sum(), (error**2).mean(1).sum())).cpu()
        else:
            self.confusion += confusion_matrix(scores, targets).cpu()

    def sums(self) -> Tensor:
        """All sums as one vector, to be added up over processes."""
        own = torch.tensor([float(self.samples), self.loss_sum], dtype=torch.float64)
        return torch.cat((own, self.moments, self.confusion.flatten().double()))

    def replace(self, sums: Tensor) -> None:
        """Takes the sums of all processes for its own."""
        self.samples, self.loss_sum = int(sums[0]), float(sums[1])
        self.moments = sums[2:5].clone()
        self.confusion = sums[5:].long().view_as(self.confusion)

    def scores(self) -> Scores:
        """The means so far."""
        count = max(self.samples, 1)
        loss = self.loss_sum / count
        if self.task == "regress":
            total, squares, errors = self.moments.tolist()
            spread = squares - total**2 / count
            return Scores(self.samples, loss, 1 - errors / spread if spread > 0 else float("nan"), "R2")
        accuracy = self.confusion.diagonal().sum().item() / max(int(self.confusion.sum()), 1)
        rows = tuple(tuple(row) for row in self.confusion.tolist())
        if self.task == "classify":
            return Scores(self.samples, loss, accuracy, "accuracy", accuracy, confusion=rows)
        iou = tuple(intersection_over_union(self.confusion).tolist())
        # Of two classes the first is what is left over; what is looked for is the second.
        score, named = (iou[1], "IoU") if len(iou) == 2 else (sum(iou) / len(iou), "mean IoU")
        return Scores(self.samples, loss, score, named, accuracy, iou, rows)
