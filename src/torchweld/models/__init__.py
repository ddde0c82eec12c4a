"""Networks by name."""

from torchweld.models.branched import BranchedNet, Size
from torchweld.models.table import create, names

__all__ = ["BranchedNet", "Size", "create", "names"]
