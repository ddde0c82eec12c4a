"""torchweld: train a network in the branched form, run it in the welded form."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchweld.core import CheckFailed as CheckFailed
    from torchweld.core import InputError as InputError
    from torchweld.deploy import bench as bench
    from torchweld.fusion import fuse as fuse
    from torchweld.training import train as train

# Names are looked up on first use, so that `torchweld --help` need not wait for torch.
_HOME = {
    "CheckFailed": "torchweld.core",
    "InputError": "torchweld.core",
    "bench": "torchweld.deploy",
    "collapse": "torchweld.fusion",
    "expand": "torchweld.fusion",
    "fuse": "torchweld.fusion",
    "train": "torchweld.training",
}
_FOLDERS = frozenset(
    {
        "autodiff",
        "core",
        "data",
        "deploy",
        "diagnosis",
        "fusion",
        "genetic",
        "layers",
        "maps",
        "models",
        "optimize",
        "report",
        "search",
        "training",
    }
)

__all__ = ["CheckFailed", "InputError", "bench", "fuse", "train"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _FOLDERS:
        return importlib.import_module(f"torchweld.{name}")
    raise AttributeError(f"module 'torchweld' has no attribute {name!r}")
