"""Which files make up a data set, before any is decoded. Hidden files and folders are never part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from torchweld.data.problem import Problem

_LEFT_BEHIND = {"__MACOSX", "__pycache__", "@eaDir"}  # folders that archives and file servers leave, hidden in spirit
_NOT_PIXELS = {"EPS", "PDF", "MPEG", "BUFR", "GRIB", "HDF5", "WMF"}  # known to Pillow by name, drawn by others


@dataclass(frozen=True)
class Listing:
    """Image files with what belongs to each: a label, or a mask. `problems` are those that names alone show."""

    root: Path
    images: tuple[Path, ...]
    labels: tuple[int, ...] = ()
    masks: tuple[Path, ...] = ()
    classes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@cache
def image_suffixes() -> frozenset[str]:
    """Every file name ending that Pillow decodes, in lower case, with its dot.

    >>> {".png", ".jpg", ".tif", ".webp", ".bmp", ".pgm"} <= image_suffixes()
    True
    """
    known = Image.registered_extensions()
    return frozenset(end for end, kind in known.items() if kind in Image.OPEN and kind not in _NOT_PIXELS)


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image: not hidden, and named like one, in any letter case."""
    return not path.name.startswith(".") and path.suffix.lower() in image_suffixes()


def is_hidden(name: str) -> bool:
    """Whether a folder is none of the user's.

    >>> is_hidden(".ipynb_checkpoints"), is_hidden("__MACOSX"), is_hidden("cats")
    (True, True, False)
    """
    return name.startswith(".") or name in _LEFT_BEHIND


def folders_in(root: Path) -> list[Path]:
    """The folders right inside, by name."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def images_in(root: Path) -> list[Path]:
    """The images right inside, by name."""
    return sorted(path for path in root.iterdir() if is_image(path) and path.is_file())


def images_below(root: Path) -> Iterator[Path]:
    """The images inside and in all folders below, folder by folder, by name."""
    for folder, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        yield from (path for path in (Path(folder) / name for name in sorted(names)) if is_image(path))
