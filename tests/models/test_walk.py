"""The shape walk: the notes' tables, totals, and a model left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchweld import models
from torchweld.core import InputError
from torchweld.fusion import fuse


def shapes(name: str, depth: int) -> list[tuple[int, ...]]:
    made = models.walk(models.create(name, 10, 1), (1, 1, 96, 96), depth)
    return [step.output[1:] for step in made.steps]


def test_the_notes_resnet_layer_by_layer() -> None:
    assert shapes("resnet18_notes", 1) == [
        *[(64, 48, 48)] * 3,
        *[(64, 24, 24)] * 2,
        (128, 12, 12),
        (256, 6, 6),
        (512, 3, 3),
        (512, 1, 1),
        (512,),
        (10,),
    ]


def test_the_notes_densenet_layer_by_layer() -> None:
    """Channels grow by 4 x 32 in a block and halve in a transition: 64, 192, 96, 224, 112, 240, 120, 248."""
    assert shapes("densenet_notes", 2) == [
        *[(64, 48, 48)] * 3,
        (64, 24, 24),
        (192, 24, 24),
        (96, 12, 12),
        (224, 12, 12),
        (112, 6, 6),
        (240, 6, 6),
        (120, 3, 3),
        (248, 3, 3),
        (248, 3, 3),
        (10,),
    ]


@pytest.mark.parametrize("name", ["resnet18", "densenet_notes", "unet_branched_nano", "lenet_bn"])
def test_totals_are_those_of_the_parts_and_of_the_fusion_report(name: str) -> None:
    net = models.create(name, channels=1)
    made = models.walk(net, (1, 1, 33, 37))
    assert made.parameters == sum(p.numel() for p in net.parameters()) == sum(s.parameters for s in made.steps)
    assert made.flops == sum(s.flops for s in made.steps)
    assert made.activation_bytes == sum(s.output_bytes for s in made.steps)
    assert made.parameter_bytes == sum(t.numel() * t.element_size() for t in net.state_dict().values())
    if name == "resnet18":
        assert made.flops == fuse(net.eval(), torch.randn(1, 1, 33, 37)).report.before.flops


@pytest.mark.parametrize("name", models.names())
def test_every_name_can_be_walked(name: str) -> None:
    """Built and run on the meta device: shapes only, however large the network."""
    with torch.device("meta"):
        net = models.create(name, classes=7, channels=2)
    made = models.walk(net, (2, 2, 67, 71), depth=1)
    assert made.steps[-1].output == ((2, 7, 67, 71) if name.startswith("unet") else (2, 7))


def test_published_figures() -> None:
    """Parameters from the papers' networks, multiply-adds from torchvision's documentation (GFLOPs there are these)."""
    for name, parameters, gmacs in (("resnet18", 11_689_512, 1.81), ("densenet121", 7_978_856, 2.83)):
        made = models.walk(models.create(name, 1000), (1, 3, 224, 224))
        assert made.parameters == parameters
        assert made.flops / 2e9 == pytest.approx(gmacs, abs=0.01)


def test_the_model_is_left_as_it_was() -> None:
    net = models.create("resnet18", channels=1)
    net.layer1.eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    models.walk(net, (2, 1, 33, 37))
    assert net.training
    assert not net.layer1.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_layer_called_twice_is_listed_twice_and_counted_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x))

    made = models.walk(Twice(), (2, 3))
    assert [(s.name, s.parameters, s.flops) for s in made.steps] == [("layer", 12, 36), ("layer", 0, 36)]
    assert made.parameters == 12


def test_an_input_that_does_not_fit_is_one_line() -> None:
    with pytest.raises(InputError, match="does not fit"):
        models.walk(nn.Linear(3, 3), (2, 4))
    with pytest.raises(InputError, match="too small"):
        models.walk(models.create("lenet_bn", channels=1), (1, 1, 8, 8))
    with pytest.raises(InputError, match="depth=0"):
        models.walk(nn.Linear(3, 3), (2, 3), depth=0)
