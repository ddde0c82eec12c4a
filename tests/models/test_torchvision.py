"""torchvision's weights fit, key by key, and give torchvision's outputs."""

from __future__ import annotations

import pytest
import torch

from torchweld import models
from torchweld.core import relative_error
from torchweld.models.vgg import NAMES as VGGS

from .networks import randomise_statistics

torchvision = pytest.importorskip("torchvision")

SHARED = ["alexnet", *VGGS, "resnet18", "resnet34", "resnet50", "densenet121"]


@pytest.mark.parametrize("name", SHARED)
def test_keys_and_shapes_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None).state_dict()
        ours = models.create(name, classes=1000).state_dict()
    assert [(k, v.shape, v.dtype) for k, v in ours.items()] == [(k, v.shape, v.dtype) for k, v in theirs.items()]


@pytest.mark.parametrize("name", SHARED)
def test_outputs_are_torchvisions_with_its_weights(name: str) -> None:
    torch.manual_seed(1)
    with torch.device("meta"):
        theirs, ours = getattr(torchvision.models, name)(weights=None), models.create(name, classes=1000)
    theirs.to_empty(device="cpu").eval()
    for tensor in theirs.state_dict().values():
        if tensor.is_floating_point():
            fan = tensor[0].numel() if tensor.ndim > 1 else 100
            tensor.normal_(std=(2 / fan) ** 0.5)
        else:
            tensor.zero_()
    randomise_statistics(theirs)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    ours.eval()
    x = torch.randn(1, 3, 75, 67)
    with torch.no_grad():
        expected = theirs(x)
        assert expected.std() > 1e-3
        assert relative_error(ours(x), expected) < 1e-5
