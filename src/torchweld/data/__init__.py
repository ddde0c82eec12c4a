"""Data sets by name, split and standardised."""

from torchweld.data.dataset import Split
from torchweld.data.digits import digits
from torchweld.data.table import load

__all__ = ["Split", "digits", "load"]
