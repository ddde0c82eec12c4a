"""Data sets: read from images, masks, idx files or tables, checked, split, standardised, batched, augmented."""

from torchweld.data.augmentation import Augmentation
from torchweld.data.batches import Batch, Batches
from torchweld.data.dataset import Split
from torchweld.data.digits import digits
from torchweld.data.problem import Problem
from torchweld.data.reading import problems, read
from torchweld.data.scale import Scale
from torchweld.data.selection import Selection
from torchweld.data.splits import Dataset, Splits
from torchweld.data.table import load

__all__ = [
    "Augmentation",
    "Batch",
    "Batches",
    "Dataset",
    "Problem",
    "Scale",
    "Selection",
    "Split",
    "Splits",
    "digits",
    "load",
    "problems",
    "read",
]
