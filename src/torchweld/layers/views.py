"""Test-time augmentation: a network's scores for an image averaged over its mirror images and quarter turns.

A network trained with flips answers an image and its mirror image nearly alike, and errs on them not quite alike: the
mean of both answers errs less, and costs two passes in one batch. The averaging is part of the network in eval mode, so
it is scored, exported and welded with it.

Shapes: B batch, C channels, H and W the image, K classes, V views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchweld.core import InputError

VIEWS = {"flip": (0, True), "flip_vertical": (2, True), "turn": (1, False)}  # as `Augmentation` calls them

Symmetry = tuple[int, bool]  # of the square: mirrored left to right or not, then so many quarter turns


def symmetries(views: Sequence[str]) -> tuple[Symmetry, ...]:
    """All that the named moves combine to, the image as it is first.

    Raises `InputError` for a name that is not in `VIEWS`.

    >>> symmetries(["flip"])
    ((0, False), (0, True))
    >>> len(symmetries(["flip", "flip_vertical"])), len(symmetries(["flip", "turn"]))
    (4, 8)
    """
    unknown = [name for name in views if name not in VIEWS]
    if unknown:
        raise InputError(f"views: {unknown[0]!r} is unknown; known are {', '.join(VIEWS)}")
    found: list[Symmetry] = [(0, False)]
    for turns, mirrored in found:  # grows while it is walked
        for more, mirrors in (VIEWS[name] for name in views):
            combined = ((more - turns if mirrors else more + turns) % 4, mirrored != mirrors)
            if combined not in found:
                found.append(combined)
    return tuple(found)


def check_turns(symmetries: Sequence[Symmetry], height: int, width: int) -> None:
    """Raises `InputError` for quarter turns of images that are not square."""
    if height != width and any(turns % 2 for turns, _ in symmetries):
        raise InputError(f"views: images of {height}x{width} are not square; leave turn out")


@dataclass
class _Views:
    """What surrounds the network's own forward."""

    symmetries: tuple[Symmetry, ...]
    on: bool = True

    def spread(self, model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """(B, C, H, W) -> (V * B, C, H, W)."""
        if model.training or not self.on:
            return None
        images, *others = inputs
        check_turns(self.symmetries, images.shape[-2], images.shape[-1])
        return torch.cat([_moved(images, *symmetry) for symmetry in self.symmetries]), *others

    def gather(self, model: nn.Module, inputs: tuple[Any, ...], scores: Tensor) -> Tensor | None:
        """(V * B, K) -> (B, K); maps (V * B, K, H, W) are moved back first."""
        if model.training or not self.on:
            return None
        views = scores.unflatten(0, (len(self.symmetries), -1)).unbind(0)
        if scores.ndim == 4:
            views = tuple(_moved_back(view, *symmetry) for view, symmetry in zip(views, self.symmetries, strict=True))
        return torch.stack(views).mean(0)


def average_views(model: nn.Module, views: Sequence[str]) -> nn.Module:
    """Makes the model average its scores over these views of its input in eval mode; training is as it was.

    `views` are names in `VIEWS` and all that they combine to: "flip" is two views, "flip_vertical" two, both four,
    "turn" four, "turn" and "flip" eight. The model takes images (B, C, H, W) and returns scores (B, K) or
    (B, K, H, W). Names of its parameters stay. Returns the model. Raises `InputError` for an unknown name, and at a
    call for quarter turns of images that are not square.

    >>> net = average_views(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), ["flip"]).eval()
    >>> x = torch.randn(5, 1, 2, 3)
    >>> torch.allclose(net(x), net(x.flip(-1)), atol=1e-6)
    True
    """
    if views:
        around = _Views(symmetries(views))
        model.register_forward_pre_hook(around.spread)
        model.register_forward_hook(around.gather)
        model.__dict__["_views"] = around
    return model


def view_count(model: nn.Module) -> int:
    """Over how many views a model averages; 1 where it does not."""
    around = model.__dict__.get("_views")
    return len(around.symmetries) if around is not None and around.on else 1


@contextmanager
def one_view(model: nn.Module) -> Iterator[None]:
    """Inside it, the model's scores are of its input as it is."""
    around = model.__dict__.get("_views", _Views(()))
    before, around.on = around.on, False
    try:
        yield
    finally:
        around.on = before


def _moved(images: Tensor, turns: int, mirrored: bool) -> Tensor:
    return torch.rot90(images.flip(-1) if mirrored else images, turns, (-2, -1))


def _moved_back(images: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = torch.rot90(images, -turns, (-2, -1))
    return turned.flip(-1) if mirrored else turned
