"""Arrays in `.npy` files, written row by row and mapped back, never whole in memory."""

from __future__ import annotations

import math
import mmap
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from torchweld.core import written_whole

_PAGES, _PAGE_BYTES = 64, 4096


class Stored(np.memmap):  # type: ignore[type-arg]
    """A memory map that is pickled by its file's name, so that a worker process maps it anew and copies nothing."""

    def __reduce__(self) -> Any:
        if isinstance(self.base, mmap.mmap):  # the whole map, and not a part of it
            return mapped, (Path(str(self.filename)),)
        return np.asarray(self).__reduce__()


def mapped(path: Path) -> Stored:
    """The array in a `.npy` file, read-only. Raises `ValueError` or `OSError` for a file that is not one."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        return Stored(path, dtype=dtype, mode="r", offset=file.tell(), shape=shape)


@contextmanager
def written(path: Path, shape: tuple[int, ...]) -> Iterator[Any]:
    """A function that appends uint8 rows; on a clean exit the file is whole, on an error there is none."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)

        def append(rows: Iterable[np.ndarray[Any, Any]]) -> None:
            for row in rows:
                file.write(np.ascontiguousarray(row, np.uint8).data)

        yield append
        file.flush()


def checksum(path: Path) -> int:
    """CRC-32 of the size, the first and the last page, and of pages spread evenly between: all of a small file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a"
    >>> _ = path.write_bytes(b"abc")
    >>> before = checksum(path)
    >>> _ = path.write_bytes(b"abd")
    >>> checksum(path) == before
    False
    """
    size = path.stat().st_size
    total = zlib.crc32(str(size).encode())
    pages = math.ceil(size / _PAGE_BYTES)
    with path.open("rb") as file:
        for page in sorted({round(i * (pages - 1) / (_PAGES - 1)) for i in range(_PAGES)} if pages else set()):
            file.seek(page * _PAGE_BYTES)
            total = zlib.crc32(file.read(_PAGE_BYTES), total)
    return total
