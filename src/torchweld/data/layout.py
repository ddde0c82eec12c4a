"""What a path holds: which of the known layouts, and which parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torchweld.core import InputError
from torchweld.data import delimited
from torchweld.data.idx import idx_files
from torchweld.data.listing import folders_in, images_below, images_in
from torchweld.data.pairs import MARK

_TRAIN, _VAL, _TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
KNOWN = (
    "a folder with one folder a class; NAME.* with NAME_mask.png, together or in images/ and masks/; train/ and test/ "
    "(or val/) of these; idx files train-* and t10k-*; a table (.csv, .tsv, .dat); or 'digits'"
)


@dataclass(frozen=True)
class Layout:
    """Where the parts are. `kind` is one of digits, idx, table, pairs, classes."""

    kind: str
    train: Path
    val: Path | None = None
    test: Path | None = None


def layout(source: str | Path) -> Layout:
    """What is at `source`. Raises `InputError` where there is nothing, or nothing known."""
    if str(source) == "digits":
        return Layout("digits", Path("digits"))
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path} does not exist; give {KNOWN}")
    if path.is_file():
        return Layout(kind_of(path), path)
    if idx_files(path, "train"):
        return Layout("idx", path, test=path if idx_files(path, "t10k") else None)
    inside = {folder.name.lower(): folder for folder in folders_in(path)}
    inside |= {table.stem.lower(): table for table in tables_in(path)}
    train = _first(inside, _TRAIN)
    if train is None:
        return Layout(kind_of(path), path)
    val, test = _first(inside, _VAL), _first(inside, _TEST)
    # Alone beside train, a folder of either name is what is scored at the end.
    val, test = (val, test) if test is not None else (None, val)
    return Layout(kind_of(train), train, val, test)


def kind_of(path: Path) -> str:
    """How the samples of one part are laid out. Raises `InputError` where it cannot be told."""
    if path.is_file():
        if path.suffix.lower() in delimited.SUFFIXES:
            return "table"
        raise InputError(f"{path} is no table (.csv, .tsv, .dat) and no folder; give {KNOWN}")
    if idx_files(path, "train") or idx_files(path, "t10k"):
        return "idx"
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return "pairs"
    if any(image.stem.endswith(MARK) for image in images_in(path)):
        return "pairs"
    if any(next(images_below(folder), None) for folder in folders_in(path)):
        return "classes"
    if len(tables_in(path)) == 1:
        return "table"
    if images_in(path):
        raise InputError(f"{path} has images, but neither class folders nor masks (NAME{MARK}.png); give {KNOWN}")
    raise InputError(f"{path} has no images and no single table; give {KNOWN}")


def tables_in(path: Path) -> list[Path]:
    """The tables right inside a folder."""
    found = (p for p in path.iterdir() if p.suffix.lower() in delimited.SUFFIXES - {".txt"})
    return sorted(p for p in found if p.is_file() and not p.name.startswith("."))


def _first(folders: dict[str, Path], names: tuple[str, ...]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)
