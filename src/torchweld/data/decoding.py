"""One image or mask file to numbers, with Pillow: channels in the order red, green, blue, and upright.

- EXIF orientation is applied, to images and masks alike.
- 16 bits are scaled to 8: `round(v * 255 / 65535)`. (Of 16-bit colour PNG files Pillow itself keeps the upper byte.)
- A palette is looked up. What is transparent is blended over white, unless four channels are asked for.
- Of several frames the first is taken. CMYK and the like become RGB; floating-point pixels are refused.

Shapes: C channels, H and W the image.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

# What Pillow's decoders raise on files that are cut off, damaged, not images, or forged to be enormous.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_SIXTEEN_BITS = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_GREY = {"1", "L", "LA", "La"} | _SIXTEEN_BITS
_QUARTER_TURNED = range(5, 9)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded."""

    height: int
    width: int
    mode: str  # Pillow's
    colour: bool


def header(path: Path) -> Header:
    """Reads the beginning of a file only. Raises one of `BROKEN`."""
    with Image.open(path) as image:
        width, height = image.size
        # Of a PNG without EXIF at its beginning Pillow decodes all pixels to look for it at the end.
        has_exif = image.format != "PNG" or any("exif" in str(key).lower() for key in image.info)
        if has_exif and image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNED:
            width, height = height, width
        return Header(height, width, image.mode, _is_colour(image))


def decoded(path: Path, size: tuple[int, int], channels: int) -> Pixels:  # (C, H, W)
    """An image of `size` (height, width) and 1, 3 or 4 channels. Raises one of `BROKEN`.

    One of another size is scaled to cover it, antialiased, its aspect kept, and cut to its centre.
    """
    with Image.open(path) as opened:
        image = _eight_bits(ImageOps.exif_transpose(opened))
    if channels == 4:
        image = image.convert("RGBA")
    else:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
    height, width = size
    if image.size != (width, height):
        top, left, bottom, right = window((image.height, image.width), size)
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decoded_mask(path: Path) -> np.ndarray[Any, np.dtype[np.uint16]]:  # (H, W)
    """A mask's values as they are in the file: palette indices, not their colours. Raises one of `BROKEN`."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode == "1":
            image = image.convert("L")  # 0 and 255, as in other masks
        values = np.asarray(image)
    if values.ndim == 3:
        colours = values[:, :, :3] if image.mode in ("RGB", "RGBA") else values[:, :, :1]
        if (colours != colours[:, :, :1]).any():
            raise ValueError("a mask in colours, where one number a pixel is the class")
        values = colours[:, :, 0]
    if values.dtype.kind not in "iu" or values.size == 0 or values.min() < 0 or values.max() > 65535:
        raise ValueError("mask values that are not whole numbers from 0 to 65535")
    return values.astype(np.uint16)


def fitted_mask(mask: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:  # (H, W)
    """The part of a mask that `decoded` shows of its image, each pixel the nearest.

    >>> fitted_mask(np.array([[1, 1, 2, 2], [3, 3, 4, 4]]), (1, 1))
    array([[4]])
    """
    if mask.shape == size:
        return mask
    top, left, bottom, right = window((mask.shape[0], mask.shape[1]), size)
    rows = (top + (np.arange(size[0]) + 0.5) * (bottom - top) / size[0]).astype(int)
    columns = (left + (np.arange(size[1]) + 0.5) * (right - left) / size[1]).astype(int)
    return mask[rows[:, None], columns]


def window(size: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box (top, left, bottom, right) in `size` with the aspect of `target`.

    >>> window((100, 300), (10, 10))
    (0.0, 100.0, 100.0, 200.0)
    """
    height, width = size
    scale = min(height / target[0], width / target[1])
    tall, wide = target[0] * scale, target[1] * scale
    top, left = (height - tall) / 2, (width - wide) / 2
    return top, left, top + tall, left + wide


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range nobody knows: save it with 8 or 16 bits")
    if image.mode not in _SIXTEEN_BITS:
        return image
    values = np.asarray(image).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError("pixels of more than 16 bits: save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _is_colour(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode not in _GREY
    palette = np.asarray(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
    return bool((palette != palette[:, :1]).any())
