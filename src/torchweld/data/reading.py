"""`read`: from a name or a path to the parts that training needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torchweld.core import InputError
from torchweld.data.bundled import CLASSES, bundled_digits
from torchweld.data.holdout import held_out
from torchweld.data.idx import idx_files, read_idx
from torchweld.data.moments import measured
from torchweld.data.problems import refuse
from torchweld.data.splits import Dataset, Splits


def read(
    source: str | Path,
    *,
    test: str | Path | None = None,
    task: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    holdout: float = 0.1,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Splits:
    """The data set named `source`.

    >>> splits = read("digits")
    >>> len(splits.train), len(splits.held_out), splits.train.inputs.dtype
    (1618, 179, dtype('uint8'))
    """
    tested: Dataset | None = None
    if str(source) == "digits":
        whole, classes = bundled_digits(), CLASSES
    else:
        files = idx_files(Path(source), "train")
        if files is None:
            raise InputError(f"{source}: cannot be read yet")
        made, problems = read_idx(*files)
        refuse(problems)
        assert made is not None
        whole, classes = made, tuple(map(str, range(int(np.asarray(made.targets).max()) + 1)))
        files = idx_files(Path(source), "t10k")
        if files is not None:
            tested, problems = read_idx(*files)
            refuse(problems)
    return split(whole, tested, classes, holdout, seed, str(source))


def split(
    whole: Dataset, tested: Dataset | None, classes: tuple[str, ...], holdout: float, seed: int, source: str
) -> Splits:
    kept, held = held_out(np.asarray(whole.targets), holdout, seed)
    train = whole.part(kept) if len(held) else whole
    return Splits(train, whole.part(held), tested, "classify", classes, measured(train, len(classes)), source=source)
