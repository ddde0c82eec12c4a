"""Every family in a form that a test can afford, with the least image it reads; wide dense layers made narrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from torchweld import models
from torchweld.models.vgg import RUNS


@dataclass(frozen=True)
class Case:
    build: Callable[[int], nn.Module]  # from the number of channels, with 7 classes
    image: tuple[int, int]  # odd and oblong, small
    smallest: int


def _named(name: str) -> Callable[[int], nn.Module]:
    return lambda channels: models.create(name, 7, channels)


CASES = {
    "lenet_bn": Case(_named("lenet_bn"), (29, 33), 16),
    "plain_cnn": Case(_named("plain_cnn"), (17, 19), 4),
    "alexnet": Case(lambda c: models.AlexNet(7, c, hidden=24), (67, 71), 63),
    "vgg11": Case(lambda c: models.VGG(RUNS["vgg11"], 7, c, hidden=16), (33, 37), 32),
    "vgg11_bn": Case(lambda c: models.VGG(RUNS["vgg11"], 7, c, norm=True, hidden=16), (33, 37), 32),
    "resnet18": Case(_named("resnet18"), (33, 37), 1),
    "resnet50": Case(_named("resnet50"), (33, 37), 1),
    "resnet18_notes": Case(_named("resnet18_notes"), (33, 37), 1),
    "densenet_notes": Case(_named("densenet_notes"), (31, 37), 29),
    "densenet121": Case(_named("densenet121"), (31, 37), 29),
    "compact_small": Case(_named("compact_small"), (9, 13), 1),
    "pooled_small": Case(_named("pooled_small"), (17, 19), 8),
    "unet_compact_small_s2": Case(_named("unet_compact_small_s2"), (33, 37), 1),
    "branched_nano": Case(_named("branched_nano"), (9, 13), 1),
    "unet_resnet18": Case(_named("unet_resnet18"), (33, 37), 1),
    "unet_branched_nano": Case(_named("unet_branched_nano"), (9, 13), 1),
    "unet_densenet_notes": Case(_named("unet_densenet_notes"), (31, 37), 29),
}


def randomise_statistics(net: nn.Module) -> nn.Module:
    """Running averages and affine parts that differ from channel to channel, as after training."""
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return net


def image(case: Case, channels: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, *case.image)
