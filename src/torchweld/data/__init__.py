"""Data sets: read from images, masks, idx files or tables, checked, split, standardised, batched, augmented."""

from torchweld.data.augmentation import Augmentation
from torchweld.data.batches import Batch, Batches
from torchweld.data.dates import Characters, DateBatch, date_batch, date_pair
from torchweld.data.footprint import Footprint, footprint
from torchweld.data.grid import grid, write_grid
from torchweld.data.inspecting import Duplicate, Inspection, inspect
from torchweld.data.problem import BadData, Problem
from torchweld.data.reading import problems, read
from torchweld.data.scale import Scale
from torchweld.data.selection import Selection
from torchweld.data.sizes import deep_size, shallow_size
from torchweld.data.splits import Dataset, Splits
from torchweld.data.stream import Once, Stream, Walk, walked

__all__ = [
    "Augmentation",
    "BadData",
    "Batch",
    "Batches",
    "Characters",
    "Dataset",
    "DateBatch",
    "Duplicate",
    "Footprint",
    "Inspection",
    "Once",
    "Problem",
    "Scale",
    "Selection",
    "Splits",
    "Stream",
    "Walk",
    "date_batch",
    "date_pair",
    "deep_size",
    "footprint",
    "grid",
    "inspect",
    "problems",
    "read",
    "shallow_size",
    "walked",
    "write_grid",
]
