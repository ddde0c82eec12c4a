"""Test-time augmentation: a network's scores averaged over an image's mirror images, quarter turns and small shifts.

A network trained with flips answers an image and its mirror image nearly alike, and errs on them not quite alike: the
mean of both answers errs less, and costs two passes in one batch. The averaging is part of the network in eval mode, so
it is scored, exported and welded with it.

Shapes: B batch, C channels, H and W the image, K classes, V views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError

_SYMMETRIES = {"flip": (0, True), "flip_vertical": (2, True), "turn": (1, False)}
VIEWS = (*_SYMMETRIES, "shift")


class View(NamedTuple):
    """A way to look at an image: mirrored left to right or not, then quarter turns, then moved down and right."""

    turns: int
    mirrored: bool
    shift: int  # pixels; the edge is repeated where the image has gone

    def of(
        self,
        images: Tensor,  # (B, C, H, W)
    ) -> Tensor:
        """What is seen of the images."""
        return _shifted(torch.rot90(images.flip(-1) if self.mirrored else images, self.turns, (-2, -1)), self.shift)

    def undone(
        self,
        maps: Tensor,  # (B, K, H, W)
    ) -> Tensor:
        """Maps of what was seen as maps of the images."""
        turned = torch.rot90(_shifted(maps, -self.shift), -self.turns, (-2, -1))
        return turned.flip(-1) if self.mirrored else turned


def _shifted(images: Tensor, by: int) -> Tensor:
    if by == 0:
        return images
    height, width = images.shape[-2:]
    wider = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return wider[..., 1 - by : 1 - by + height, 1 - by : 1 - by + width]


def views_of(names: Sequence[str]) -> tuple[View, ...]:
    """All that the named moves combine to, the image as it is first; "shift" is none, and one pixel either way.

    Raises `InputError` for a name that is not in `VIEWS`.

    >>> [len(views_of(names)) for names in (["flip"], ["flip", "flip_vertical"], ["flip", "turn"], ["flip", "shift"])]
    [2, 4, 8, 6]
    """
    unknown = [name for name in names if name not in VIEWS]
    if unknown:
        raise InputError(f"views: {unknown[0]!r} is unknown; known are {', '.join(VIEWS)}")
    found = [(0, False)]
    for turns, mirrored in found:  # grows while it is walked
        for more, mirrors in (_SYMMETRIES[name] for name in names if name != "shift"):
            combined = ((more - turns if mirrors else more + turns) % 4, mirrored != mirrors)
            if combined not in found:
                found.append(combined)
    shifts = (0, 1, -1) if "shift" in names else (0,)
    return tuple(View(turns, mirrored, shift) for shift in shifts for turns, mirrored in found)


def check_turns(views: Sequence[View], height: int, width: int) -> None:
    """Raises `InputError` for quarter turns of images that are not square."""
    if height != width and any(view.turns % 2 for view in views):
        raise InputError(f"views: images of {height}x{width} are not square; leave turn out")


@dataclass
class _Views:
    """What surrounds the network's own forward."""

    views: tuple[View, ...]
    on: bool = True

    def spread(self, model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """(B, C, H, W) -> (V * B, C, H, W)."""
        if model.training or not self.on:
            return None
        images, *others = inputs
        check_turns(self.views, images.shape[-2], images.shape[-1])
        return torch.cat([view.of(images) for view in self.views]), *others

    def gather(self, model: nn.Module, inputs: tuple[Any, ...], scores: Tensor) -> Tensor | None:
        """(V * B, K) -> (B, K); maps (V * B, K, H, W) are moved back first."""
        if model.training or not self.on:
            return None
        answers = scores.unflatten(0, (len(self.views), -1)).unbind(0)
        if scores.ndim == 4:
            answers = tuple(view.undone(answer) for view, answer in zip(self.views, answers, strict=True))
        return torch.stack(answers).mean(0)


def average_views(model: nn.Module, views: Sequence[str]) -> nn.Module:
    """Makes the model average its scores over these views of its input in eval mode; training is as it was.

    `views` are names in `VIEWS` and all that they combine to: "flip" is two views, "flip_vertical" two, both four,
    "turn" four, "turn" and "flip" eight; "shift", by a pixel, triples them. The model takes images (B, C, H, W) and
    returns scores (B, K) or (B, K, H, W). Names of its parameters stay. Returns the model. Raises `InputError` for an
    unknown name, for a model that averages already, and at a call for quarter turns of images that are not square.

    >>> net = average_views(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), ["flip"]).eval()
    >>> x = torch.randn(5, 1, 2, 3)
    >>> torch.allclose(net(x), net(x.flip(-1)), atol=1e-6)
    True
    """
    if views and "_views" in model.__dict__:
        raise InputError("views: the model averages over views already; name them all at once")
    if views:
        around = _Views(views_of(views))
        model.register_forward_pre_hook(around.spread)
        model.register_forward_hook(around.gather)
        model.__dict__["_views"] = around
    return model


def view_count(model: nn.Module) -> int:
    """Over how many views a model averages; 1 where it does not."""
    around = model.__dict__.get("_views")
    return len(around.views) if around is not None and around.on else 1


@contextmanager
def one_view(model: nn.Module) -> Iterator[None]:
    """Inside it, the model's scores are of its input as it is."""
    around = model.__dict__.get("_views", _Views(()))
    before, around.on = around.on, False
    try:
        yield
    finally:
        around.on = before
