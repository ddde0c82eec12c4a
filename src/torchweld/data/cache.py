"""Images decoded once, into files that are mapped from then on and may be larger than memory.

They lie in `$TORCHWELD_CACHE`, or the user's own cache folder; never among the data. A folder's name is a hash of the
source and the options; `facts.json` in it, written last, holds a fingerprint of all files (name, size, time of change)
and a checksum of what was stored. Where anything differs, all is decoded again.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchweld.core import InputError, written_whole
from torchweld.data.listing import Listing
from torchweld.data.stored import Stored, checksum, mapped

_VERSION = 2  # of the decoder and this layout: what an older one stored is decoded again


def cache_folder(chosen: str | Path | None, root: Path) -> Path:
    """Where decoded data go. Raises `InputError` for a folder inside `root`."""
    if chosen is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        chosen = os.environ.get("TORCHWELD_CACHE") or Path(base) / "torchweld"
    folder = Path(chosen).expanduser().absolute()
    if folder.resolve().is_relative_to(root.resolve()):
        raise InputError(f"cache {folder} lies inside the data {root}; choose another, or set TORCHWELD_CACHE")
    return folder


@dataclass(frozen=True)
class Entry:
    """One part of a data set in the cache."""

    folder: Path
    fingerprint: str

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs.npy"

    @property
    def masks(self) -> Path:
        return self.folder / "masks.npy"

    @property
    def sums(self) -> Path:
        """Of each image and channel the sum of its pixels and of their squares: the scale of any part, unread."""
        return self.folder / "sums.npy"

    def facts(self) -> dict[str, Any] | None:
        """What was written with the arrays, or None if there is nothing whole, or of another time."""
        try:
            facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
            valid = facts["fingerprint"] == self.fingerprint and facts["version"] == _VERSION
            for name, sum_before in facts["checksums"].items() if valid else ():
                valid = valid and checksum(self.folder / name) == sum_before
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return facts["facts"] if valid else None

    def arrays(self) -> tuple[Stored, Stored | None, Stored]:
        """The images, the masks where there are some, and the sums."""
        return mapped(self.inputs), mapped(self.masks) if self.masks.exists() else None, mapped(self.sums)

    def complete(self, facts: dict[str, Any], sums: np.ndarray[Any, Any]) -> None:
        """Says that the arrays beside are whole: written after them."""
        with written_whole(self.sums) as temporary:
            np.save(temporary, sums)
        checksums = {path.name: checksum(path) for path in (self.inputs, self.masks, self.sums) if path.exists()}
        content = {"version": _VERSION, "fingerprint": self.fingerprint, "checksums": checksums, "facts": facts}
        with written_whole(self.folder / "facts.json") as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def entry(listing: Listing, options: dict[str, Any], folder: Path) -> Entry:
    """Where the decoded images of `listing` are, or will be."""
    key = json.dumps([str(listing.root.resolve()), options], sort_keys=True)
    name = f"{listing.root.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    seen = hashlib.sha256()
    for path in (*listing.images, *listing.masks):
        try:
            status = path.stat()
            state = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:  # a link to nowhere, say: reading it will say what is wrong
            state = "absent"
        seen.update(f"{path.relative_to(listing.root)}\0{state}\0".encode("utf-8", "surrogateescape"))
    return Entry(folder / "data" / name, seen.hexdigest())
