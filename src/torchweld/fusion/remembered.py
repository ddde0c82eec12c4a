"""Measurements kept from one run to the next: a JSON file in `$TORCHWELD_CACHE`, or in the user's cache folder.

Written whole, so a reader never meets half a file; a file that cannot be read is taken as empty and built anew. A
folder that cannot be written costs only the memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchweld.core import written_whole


def cache_folder() -> Path:
    """`$TORCHWELD_CACHE` if it is set, else `torchweld` in the folder that the system has for caches."""
    if given := os.environ.get("TORCHWELD_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "torchweld"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchweld"


class Remembered:
    """One file of values by key."""

    def __init__(self, name: str) -> None:
        self.path = cache_folder() / name
        self._values = _read(self.path)

    def get(self, key: str) -> Any:
        """The value, or None where there is none."""
        return self._values.get(key)

    def update(self, values: Mapping[str, Any]) -> None:
        """Adds values, keeping what others have written to the file in the meantime."""
        self._values = {**self._values, **_read(self.path), **values}
        with contextlib.suppress(OSError), written_whole(self.path) as temporary:
            temporary.write_text(json.dumps(self._values, indent=1, sort_keys=True))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
