"""Every network that this package builds, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torch import nn

from torchweld.core import InputError
from torchweld.models.alexnet import alexnet
from torchweld.models.branched import SIZES as BRANCHED
from torchweld.models.branched import branched
from torchweld.models.compact import SIZES as COMPACT
from torchweld.models.compact import compact
from torchweld.models.densenet import SIZES as DENSE
from torchweld.models.densenet import densenet
from torchweld.models.encoders import NAMES as UNETS
from torchweld.models.encoders import unet
from torchweld.models.images import check_counts
from torchweld.models.lenet import lenet
from torchweld.models.plain import plain
from torchweld.models.pooled import SIZES as POOLED
from torchweld.models.pooled import pooled
from torchweld.models.resnet import SIZES as RESIDUAL
from torchweld.models.resnet import resnet
from torchweld.models.vgg import NAMES as VGGS
from torchweld.models.vgg import vgg

_BUILDERS: dict[str, Callable[[str, int, int], nn.Module]] = {
    **dict.fromkeys(BRANCHED, branched),
    **dict.fromkeys(COMPACT, compact),
    **dict.fromkeys(POOLED, pooled),
    "lenet_bn": lenet,
    "plain_cnn": plain,
    "alexnet": alexnet,
    **dict.fromkeys(VGGS, vgg),
    **dict.fromkeys((*RESIDUAL, "resnet18_notes"), resnet),
    **dict.fromkeys(DENSE, densenet),
    **dict.fromkeys(UNETS, unet),
}


def names() -> tuple[str, ...]:
    """The names that `create` knows.

    >>> "branched_tiny" in names(), "resnet18" in names()
    (True, True)
    """
    return tuple(_BUILDERS)


def create(
    name: str,
    classes: int = 10,
    channels: int = 3,
) -> nn.Module:
    """A network with fresh weights, in training mode, for images of `channels` channels.

    It returns scores (B, classes), a `unet_...` scores for each pixel (B, classes, H, W). Raises `InputError` for a
    name that is not in `names()`, with the nearest that is, and for counts below 1.

    >>> sum(p.numel() for p in create("branched_nano", channels=1).parameters())
    26858
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_BUILDERS)}"
        raise InputError(f"there is no model {name!r}; {hint}")
    check_counts(classes=classes, channels=channels)
    return _BUILDERS[name](name, classes, channels)
