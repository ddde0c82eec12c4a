"""The search space that is taken where none is given: by the task, the size of the data, and the config itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torchweld.data import Splits
from torchweld.genetic import Category, Gene, Integer, Real
from torchweld.models import names
from torchweld.models.perceptron import WIDTHS
from torchweld.search.space import Space
from torchweld.training import Config

_BLOCKS = (None, "rep", "asymmetric", "diverse")
# Width and depth by name, by the least side of an image.
_SIZES = (
    (32, ("branched_tiny", "branched_small", "compact_small", "compact_medium")),
    (16, ("branched_nano", "branched_tiny", "compact_small", "compact_small_s2")),
    (0, ("branched_nano", "branched_tiny", "plain_cnn", "compact_small")),
)


def space_for(
    config: Config,
    splits: Splits,
    genes: Mapping[str, Gene] | None = None,
    fixed: Collection[str] = (),
) -> Space:
    """Rate, warm-up, weight decay, dropout, size, augmentation and branched block, around what `config` says.

    `genes` are added, or replace those of the same name; `fixed` names settings that stay as they are.
    """
    found: dict[str, Gene] = {
        "learning_rate": Real(config.learning_rate / 30, config.learning_rate * 10, log=True),
        "warmup_epochs": Real(0.0, config.epochs / 6),
        "weight_decay": Real((config.weight_decay or 1e-4) / 100, min((config.weight_decay or 1e-4) * 100, 0.5), True),
    }
    if splits.task != "segment":  # a U-Net has no linear layer to put a dropout before
        found |= {"dropout": Real(0.0, 0.5), "dropout_kind": Category(("inverted", "adaptive"))}
    sizes = _sizes(config, splits)
    if len(sizes) > 1:
        found["model"] = Category(sizes)
    if splits.train.inputs.ndim == 4:
        side = min(splits.train.inputs.shape[2:])
        found |= {
            "expand": Category(_BLOCKS),
            "augmentation.shift_pixels": Integer(0, max(1, side // 8)),
            "augmentation.rotate_degrees": Real(0.0, 15.0),
            "augmentation.erase": Real(0.0, 0.5),
        }
    kept = {name: gene for name, gene in found.items() if name not in fixed}
    return Space({**kept, **(genes or {})})


def _sizes(config: Config, splits: Splits) -> tuple[str, ...]:
    shape = splits.train.inputs.shape
    if len(shape) == 2:
        known: tuple[str, ...] = tuple(WIDTHS)
    else:
        known = next(found for least, found in _SIZES if min(shape[2:]) >= least)
    if splits.task == "segment":
        known = tuple(f"unet_{name}" for name in known if f"unet_{name}" in names())
    return known if config.model in known else (config.model, *known)
