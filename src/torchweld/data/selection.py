"""Some rows of an array, taken when they are asked for: a part of a memory-mapped set costs no copy."""

from __future__ import annotations

from typing import Any

import numpy as np


class Selection:
    """Behaves like `base[rows]` for reading, without making it; `np.asarray` does make it.

    >>> part = Selection(np.arange(10) * 10, np.array([7, 2]))
    >>> part.shape, part[1].item(), part[:].tolist()
    ((2,), 20, [70, 20])
    """

    def __init__(self, base: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> None:
        self.base, self.rows = base, rows
        self._plain = base.view(np.ndarray)  # a memory map's own indexing costs microseconds

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.base.dtype

    @property
    def ndim(self) -> int:
        return self.base.ndim

    @property
    def nbytes(self) -> int:
        """Bytes that these rows take up in the base, on disk where that is mapped."""
        return len(self.rows) * int(np.prod(self.base.shape[1:])) * self.base.dtype.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        first, *rest = key if isinstance(key, tuple) else (key,)
        taken = self._plain[self.rows[first]]
        if not rest:
            return taken
        return taken[tuple(rest)] if isinstance(first, (int, np.integer)) else taken[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self._plain[self.rows], dtype)

    def __reduce__(self) -> Any:
        return Selection, (self.base, self.rows)
