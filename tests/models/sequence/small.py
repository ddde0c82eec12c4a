"""Small sequence models and batches with padding in them."""

from __future__ import annotations

from torch import Tensor, long, randint, tensor

from torchweld.models import sequence
from torchweld.models.sequence import SequenceModel, Sizes

CORES = sequence.cores()
SOURCE, TARGET = 17, 9


def model(core: str, **changed) -> SequenceModel:
    """In eval mode, float64, dropout set but asleep."""
    sizes = {"features": 12, "layers": 2, "heads": 3, "kernel": 3, "rate": 0.2, "longest": 40, **changed}
    return sequence.create(core, Sizes(SOURCE, TARGET, **sizes)).double().eval()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Source (4, 7) with lengths, target (4, 6)."""
    return randint(SOURCE, (4, 7), dtype=long), tensor([7, 3, 1, 5]), randint(TARGET, (4, 6), dtype=long)
