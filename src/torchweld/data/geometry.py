"""Images and their masks moved, all samples of a batch at once.

Whole pixels (flips, quarter turns, shifts) are looked up, which is exact and stays uint8. Anything else is one
affine grid and one `grid_sample` for the batch, bilinear; masks take the nearest pixel of the same grid, so that no
class appears that was not there.

Shapes: B batch, C channels, H and W the image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from torchweld.data.moves import Moves

BORDERS = {"repeat": "border", "reflect": "reflection"}  # our word -> grid_sample's


def moved(
    images: Tensor,  # (B, C, H, W)
    masks: Tensor | None,  # (B, H, W)
    moves: Moves,
    resample: bool,
    border: str,
) -> tuple[Tensor, Tensor | None]:
    """Images and masks under the same moves; by interpolation if `resample`, else pixel by pixel."""
    height, width = images.shape[2:]
    if not resample:
        index = looked_up(moves, height, width, border)
        return _taken(images, index), None if masks is None else _taken(masks[:, None], index)[:, 0]
    grid = affine_grid(theta(moves, height, width), height, width)
    padding = BORDERS[border]
    images = F.grid_sample(images.float(), grid, "bilinear", padding, align_corners=False)
    if masks is not None:
        # float32 holds every integer up to 2^24, so that classes come back as they went in.
        masks = F.grid_sample(masks[:, None].float(), grid, "nearest", padding, align_corners=False)[:, 0].to(
            masks.dtype
        )
    return images, masks


def looked_up(moves: Moves, height: int, width: int, border: str) -> tuple[Tensor, Tensor]:  # (B, H), (B, W)
    """For each output row and each output column a number; their sum numbers the source pixel, row by row."""
    rows = _inside(np.arange(height, dtype=np.int32) - moves.shift[:, :1], height, border)
    columns = _inside(np.arange(width, dtype=np.int32) - moves.shift[:, 1:], width, border)
    across = moves.transpose[:, None]  # an output row is a source column there; only square images are transposed
    for_rows = np.where(across, moves.flip_columns[:, None], moves.flip_rows[:, None])
    for_columns = np.where(across, moves.flip_rows[:, None], moves.flip_columns[:, None])
    rows = np.where(for_rows, height - 1 - rows, rows) * np.where(across, 1, width)
    columns = np.where(for_columns, width - 1 - columns, columns) * np.where(across, width, 1)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def affine_grid(
    theta: Tensor,  # (B, 2, 3)
    height: int,
    width: int,
) -> Tensor:  # (B, H, W, 2)
    """`torch.nn.functional.affine_grid(..., align_corners=False)`, by two additions instead of a matrix product.

    A product of (H * W) x 3 by 3 x 2 matrices took four times as long as the sampling itself.

    >>> theta = torch.randn(2, 2, 3)
    >>> torch.allclose(affine_grid(theta, 4, 5), F.affine_grid(theta, [2, 1, 4, 5], align_corners=False), atol=1e-6)
    True
    """
    x = (torch.arange(width) * 2 + 1) / width - 1
    y = (torch.arange(height) * 2 + 1) / height - 1
    across = theta[:, :, 0, None] * x + theta[:, :, 2, None]  # (B, 2, W)
    down = theta[:, :, 1, None] * y  # (B, 2, H)
    grid = torch.empty(len(theta), height, width, 2)
    for axis in range(2):
        torch.add(across[:, axis, None, :], down[:, axis, :, None], out=grid[..., axis])
    return grid


def theta(moves: Moves, height: int, width: int) -> Tensor:  # (B, 2, 3)
    """The moves as `affine_grid` wants them: x before y, sizes scaled to -1..1."""
    shift = moves.shift[:, ::-1, None].astype(np.float32)  # x, y
    # The symmetry as a matrix: transposed first, then flipped along the source's own axes.
    identity, swap = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1]
    symmetry = np.where(moves.transpose[:, None, None], swap, identity)
    signs = np.stack([moves.flip_columns, moves.flip_rows], 1)
    symmetry = symmetry * np.where(signs, np.float32(-1), np.float32(1))[:, :, None]
    matrix = symmetry @ moves.matrix
    offset = symmetry @ moves.offset[:, :, None] - matrix @ shift
    half = np.array([width / 2, height / 2], np.float32)
    matrix = matrix * half[None, None, :] / half[None, :, None]
    return torch.from_numpy(np.concatenate([matrix, offset / half[None, :, None]], 2).astype(np.float32))


def _inside(at: np.ndarray, size: int, border: str) -> np.ndarray:
    if border == "repeat":
        return at.clip(0, size - 1)
    at = np.where(at < 0, -1 - at, at)  # mirrored at the edge of the outermost pixel, as grid_sample does
    return np.where(at >= size, 2 * size - 1 - at, at)


def _taken(images: Tensor, index: tuple[Tensor, Tensor]) -> Tensor:
    batch, channels, height, width = images.shape
    wide = torch.int32 if images.numel() < 2**31 else torch.int64  # half the index is half the traffic
    starts = torch.arange(0, images.numel(), height * width, dtype=wide).view(batch, channels, 1)
    rows, columns = (part[:, None].to(wide) for part in index)
    pixels = (rows + starts)[:, :, :, None] + columns[:, :, None, :]  # (B, C, H, W)
    return images.reshape(-1).index_select(0, pixels.view(-1)).view(images.shape)
