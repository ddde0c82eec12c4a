"""Predictions drawn: for segmentation the image, the truth and the prediction side by side, for classes the mistakes.

Shapes: C channels, H and W the image.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from torchweld.core import written_whole
from torchweld.data import Batches, Dataset, Splits
from torchweld.training.trackers import grid

_MOST = 8
_RIGHT, _MISSED, _INVENTED = (0.2, 0.7, 0.3), (0.9, 0.25, 0.2), (0.25, 0.45, 0.95)


@torch.no_grad()
def draw_predictions(
    model: nn.Module,
    dataset: Dataset,
    splits: Splits,
    target: str | os.PathLike[str],
) -> None:
    """Writes a picture of up to eight samples, evenly spread over the data set, and what the network makes of them.

    Masks: green is right, red missed, blue invented, of every class but the first. Classes: the truth, and the answer
    in red where it is wrong. The model is put into eval mode and back.
    """
    rows = np.linspace(0, len(dataset) - 1, min(_MOST, len(dataset))).astype(int)
    part = dataset.part(rows)
    batch = Batches(part, splits, len(rows), shuffle=False).batch(0, 0)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    training = model.training
    answers = model.eval()(batch.inputs.to(device)).argmax(1).cpu()
    model.train(training)
    images = [grid(image[None], splits.scale.mean, splits.scale.std).movedim(0, -1).numpy() for image in batch.inputs]
    draw = _draw_masks if splits.task == "segment" else _draw_classes
    figure = draw(images, batch.targets, answers, splits, part.names)
    with written_whole(target) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_masks(images: list[Any], targets: Any, answers: Any, splits: Splits, names: Any) -> Figure:
    figure = Figure(figsize=(9, 3.05 * len(images)), layout="constrained")
    for row, (image, truth, answer) in enumerate(zip(images, targets.numpy(), answers.numpy(), strict=True)):
        axes = [figure.add_subplot(len(images), 3, 3 * row + i + 1) for i in range(3)]
        colour = np.repeat(image, 3, 2) if image.shape[2] == 1 else image
        either = (truth > 0) | (answer > 0)
        shades = np.where((truth == answer)[..., None], _RIGHT, np.where((answer == 0)[..., None], _MISSED, _INVENTED))
        over = np.where(either[..., None], 0.55 * colour + 0.45 * shades, colour)
        axes[0].imshow(colour)
        axes[1].imshow(colour)
        axes[1].contour(truth > 0, levels=[0.5], colors="yellow", linewidths=1.2) if 0 < (
            truth > 0
        ).mean() < 1 else None
        axes[2].imshow(over)
        both = ((truth > 0) & (answer > 0)).sum()
        share = both / either.sum() if either.any() else 1.0
        for axis, title in zip(axes, (str(names[row]).rsplit("/", 1)[-1], "truth", f"prediction, IoU {share:.3f}"),
                               strict=True):  # fmt: skip
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    return figure


def _draw_classes(images: list[Any], targets: Any, answers: Any, splits: Splits, names: Any) -> Figure:
    figure = Figure(figsize=(9, 5), layout="constrained")
    for i, (image, truth, answer) in enumerate(zip(images, targets.tolist(), answers.tolist(), strict=True)):
        axis = figure.add_subplot(2, -(-len(images) // 2), i + 1)
        axis.imshow(image.squeeze(), cmap="gray" if image.shape[2] == 1 else None)
        wrong = truth != answer
        title = f"{splits.classes[truth]}" + (f", taken for {splits.classes[answer]}" if wrong else "")
        axis.set_title(title, fontsize=9, color=_MISSED if wrong else "black")
        axis.axis("off")
    return figure
