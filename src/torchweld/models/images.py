"""What every image network asks of its input, said in one line before a convolution fails in many."""

from __future__ import annotations

from torch import Tensor

from torchweld.core import InputError


class ShapeError(InputError, ValueError):
    """An image that a network cannot read; a `ValueError` too, for those who try sizes and know only Python's errors.

    >>> isinstance(ShapeError("too small"), InputError)
    True
    """


def check_image(
    x: Tensor,  # (B, C, H, W)
    model: str,
    channels: int,
    smallest: int,
    reduction: int | None = None,
) -> None:
    """Raises `ShapeError`, an `InputError`: for another rank or number of channels, for less than `smallest` pixels.

    `reduction`: by how much the network shrinks the image before its last batch norm; such a norm cannot train on one
    image that is a single pixel there. None for a network that can.

    >>> import torch
    >>> check_image(torch.empty(1, 3, 32, 32), "vgg16", channels=3, smallest=32)
    """
    if x.ndim != 4:
        raise ShapeError(f"{model} reads images (B, C, H, W), and got a tensor of {tuple(x.shape)}")
    if x.shape[1] != channels:
        raise ShapeError(f"{model} was made for {channels} channels and got {x.shape[1]}; create it with "
                         f"channels={x.shape[1]}")  # fmt: skip
    height, width = x.shape[2], x.shape[3]
    if height < smallest or width < smallest:
        raise ShapeError(f"an image of {height}x{width} is too small for {model}; give {smallest}x{smallest} or more")
    if reduction is not None and x.shape[0] == 1 and height <= reduction and width <= reduction:
        raise ShapeError(
            f"one image of {height}x{width} leaves {model}'s last batch norm one value per channel to train on; "
            f"give two images or more than {reduction} pixels a side, or call .eval()"
        )


def check_counts(**counts: int) -> None:
    """Raises `InputError` for a count below 1.

    >>> check_counts(classes=10, channels=3)
    """
    for what, count in counts.items():
        if count < 1:
            raise InputError(f"{what}={count} is not positive")
