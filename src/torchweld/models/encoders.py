"""Networks of this package as encoders: the modules between one halving of the image and the next."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from torchweld.models import alexnet as alex
from torchweld.models import branched as branch
from torchweld.models import compact as compacted
from torchweld.models import densenet as dense
from torchweld.models import resnet as res
from torchweld.models import vgg as very
from torchweld.models.unet import UNet

Stages = tuple[nn.Module, ...]


def _pooled(features: nn.Sequential) -> Stages:
    """A chain cut in front of each pooling, so that every map before a pooling is kept."""
    cuts: list[list[nn.Module]] = [[]]
    for part in features:
        if isinstance(part, nn.MaxPool2d):
            cuts.append([])
        cuts[-1].append(part)
    return tuple(nn.Sequential(*cut) for cut in cuts)


def _vgg(name: str, channels: int) -> Stages:
    base, _, norm = name.partition("_")
    return _pooled(very.VGG(very.RUNS[base], 1, channels, norm == "bn", hidden=1).features)


def _alexnet(name: str, channels: int) -> Stages:
    return _pooled(alex.AlexNet(1, channels, hidden=1).features)


def _resnet(name: str, channels: int) -> Stages:
    return res.ResNet(res.SIZES[name], 1, channels).stages()


def _densenet(name: str, channels: int) -> Stages:
    return dense.DenseNet(dense.SIZES[name], 1, channels).stages()


def _branched(name: str, channels: int) -> Stages:
    return tuple(s for s in branch.BranchedNet(branch.SIZES[name], 1, channels).stages.children())


def _compact(name: str, channels: int) -> Stages:
    return tuple(compacted.CompactNet(compacted.SIZES[name], 1, channels).stages.children())


_ENCODERS: dict[str, tuple[Callable[[str, int], Stages], int]] = {
    "alexnet": (_alexnet, alex.SMALLEST),
    **dict.fromkeys(very.NAMES, (_vgg, very.SMALLEST)),
    **dict.fromkeys(res.SIZES, (_resnet, 1)),
    **dict.fromkeys(dense.SIZES, (_densenet, dense.SMALLEST)),
    **dict.fromkeys(compacted.SIZES, (_compact, 1)),
    **dict.fromkeys(branch.SIZES, (_branched, 1)),
}
NAMES = tuple(f"unet_{name}" for name in _ENCODERS)


def unet(name: str, classes: int, channels: int) -> UNet:
    """The segmentation network `unet_ENCODER`, of a name in `NAMES`; of a `..._s2` it ends at half the size."""
    encoder = name.removeprefix("unet_")
    build, smallest = _ENCODERS[encoder]
    return UNet(build(encoder, channels), classes, channels, smallest, from_image=not encoder.endswith("_s2"))
