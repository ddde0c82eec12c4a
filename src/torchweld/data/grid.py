"""A picture of a data set: some images of each class, or images beside their masks.

Shapes: C channels, H and W the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from torchweld.core import InputError, written_whole
from torchweld.data.draws import Purpose, generator
from torchweld.data.splits import Dataset, Splits

_GAP, _LABEL, _COLUMNS, _MOST_ROWS = 6, 20, 8, 20
_LEAST_SIDE, _MOST_SIDE = 56, 160
# Okabe and Ito's colours, told apart by colour-blind readers too; class 0 is left as it is.
_COLOURS = ((213, 94, 0), (0, 114, 178), (240, 228, 66), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))


def grid(splits: Splits, part: str = "train", seed: int = 0) -> Image.Image:
    """Eight images of each class, a row a class; or sixteen images, each beside itself under its mask.

    Which ones is drawn by `seed`. Raises `InputError` for a table, which has no images, and for an empty part.

    >>> from torchweld import data
    >>> grid(data.read("digits")).mode
    'RGB'
    """
    dataset: Dataset | None = getattr(splits, part, None) if part in ("train", "held_out", "test") else None
    if dataset is None or len(dataset) == 0:
        raise InputError(f"{splits.source} has no samples in {part!r}; choose from train, held_out, test")
    if dataset.inputs.ndim != 4:
        raise InputError(f"{splits.source} is a table; there are no images to draw")
    random = generator(seed, 0, Purpose.ORDER)
    if splits.task == "segment":
        rows = random.permutation(len(dataset))[: 2 * _COLUMNS]
        cells = [tile for row in rows for tile in _pair(dataset, int(row))]
        named = (f"{name} -> {number}" for number, name in enumerate(splits.classes))
        title = "mask values to classes: " + ", ".join(list(named)[: len(_COLOURS) + 1])
        rest = [(None, cells[i : i + _COLUMNS]) for i in range(_COLUMNS, len(cells), _COLUMNS)]
        return _sheet([(title, cells[:_COLUMNS]), *rest])
    labels = np.asarray(dataset.targets)
    lines = []
    for number, name in list(enumerate(splits.classes))[:_MOST_ROWS]:
        rows = random.permutation(np.flatnonzero(labels == number))[:_COLUMNS]
        if len(rows):
            lines.append((name, [_tile(dataset.inputs[int(row)]) for row in rows]))
    return _sheet(lines)


def write_grid(splits: Splits, path: str | Path, part: str = "train", seed: int = 0) -> None:
    """`grid` as a file; its ending names the format. Raises `InputError` for an ending that names none."""
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise InputError(f"{path}: no image format ends in {path.suffix!r}; write .png")
    picture = grid(splits, part, seed)
    with written_whole(path) as temporary:
        picture.save(temporary)


def _tile(
    image: np.ndarray[Any, Any],  # (C, H, W)
) -> Image.Image:
    pixels = image[0] if len(image) == 1 else image[:3].transpose(1, 2, 0)
    made = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    side = max(made.size)
    if side < _LEAST_SIDE:
        times = -(-_LEAST_SIDE // side)  # whole times, so that each pixel stays a square
        return made.resize((made.width * times, made.height * times), Image.Resampling.NEAREST)
    if side > _MOST_SIDE:
        scale = _MOST_SIDE / side
        return made.resize((round(made.width * scale), round(made.height * scale)), Image.Resampling.BICUBIC)
    return made


def _pair(dataset: Dataset, row: int) -> tuple[Image.Image, Image.Image]:
    """The image, and the image with its classes in colour."""
    image, mask = np.asarray(dataset.inputs[row]), np.asarray(dataset.targets[row])
    colour = np.repeat(image, 3, 0) if len(image) == 1 else image[:3].copy()
    palette = np.array([(0, 0, 0), *_COLOURS], np.float32)
    chosen = palette[np.where(mask == 0, 0, (mask.astype(int) - 1) % len(_COLOURS) + 1)].transpose(2, 0, 1)
    over = np.where(mask == 0, colour, 0.55 * colour + 0.45 * chosen).astype(np.uint8)
    return _tile(image), _tile(over)


def _sheet(lines: Sequence[tuple[str | None, list[Image.Image]]]) -> Image.Image:
    font = ImageFont.load_default(13)
    wide = max(tile.width for _, tiles in lines for tile in tiles) + _GAP
    tall = [max(tile.height for tile in tiles) + _GAP + (_LABEL if name is not None else 0) for name, tiles in lines]
    sheet = Image.new("RGB", (wide * max(len(tiles) for _, tiles in lines) + _GAP, sum(tall) + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for (name, tiles), height in zip(lines, tall, strict=True):
        if name is not None:
            draw.text((_GAP, top), name, fill="black", font=font)
        for i, tile in enumerate(tiles):
            sheet.paste(tile, (_GAP + i * wide, top + (_LABEL if name is not None else 0)))
        top += height
    return sheet
