"""R12: every network runs, learns, exports and welds, at odd sizes, 1 to 4 channels, and names what it cannot read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchweld import models
from torchweld.core import InputError
from torchweld.fusion import fuse
from torchweld.layers import ResidualBlock

from .networks import CASES, image, randomise_statistics

BRANCHED = [name for name in models.names() if name.startswith("branched")]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", CASES)
def test_every_model_runs_and_every_parameter_learns(name: str, channels: int) -> None:
    case = CASES[name]
    net = case.build(channels)
    scores = net(image(case, channels))
    assert scores.shape == ((2, 7, *case.image) if name.startswith("unet") else (2, 7))
    scores.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    if channels == 1:
        assert net.eval()(image(case, 1, batch=1)).shape[0] == 1


@pytest.mark.parametrize("name", CASES)
def test_every_model_is_captured_whole(name: str) -> None:
    case = CASES[name]
    net = case.build(1).eval()
    x = image(case, 1)
    exported = torch.export.export(net, (x,)).module()
    torch.testing.assert_close(exported(x), net(x))


# Convolutions that are left when every norm is in one: all, but for those whose norm comes first (DenseNet's).
WELDED = {
    "lenet_bn": (2, 0),
    "plain_cnn": (4, 0),
    "alexnet": (5, 0),
    "vgg11_bn": (8, 0),
    "resnet18": (20, 0),
    "resnet50": None,
    "resnet18_notes": (20, 0),
    "densenet_notes": None,
    "densenet121": None,
    "unet_branched_nano": None,
    "unet_resnet18": None,
}


# The certificate tries half the image too, which must be one that the network reads.
SEVERAL_SIZES = {"lenet_bn": (33, 37), "vgg11_bn": (65, 67), "densenet_notes": (59, 61)}


@pytest.mark.parametrize("name", WELDED)
def test_every_family_welds_with_a_certificate(name: str) -> None:
    case = CASES[name]
    net = randomise_statistics(case.build(2)).eval()
    x = torch.randn(2, 2, *SEVERAL_SIZES.get(name, case.image))
    fused = fuse(net, x)
    report = fused.report
    assert report.certificate.twin_error <= report.certificate.twin_bound
    with torch.no_grad():
        torch.testing.assert_close(fused(x), net(x), rtol=1e-3, atol=1e-3)
    assert report.after.norms <= report.before.norms
    if name in SEVERAL_SIZES or case.smallest == 1:
        assert len(report.certificate.checks) > 1
    if WELDED[name] is not None:
        assert (report.after.convs, report.after.norms) == WELDED[name]


@pytest.mark.parametrize("name", CASES)
def test_the_smallest_image_is_as_said(name: str) -> None:
    case = CASES[name]
    net = case.build(1).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 1, case.smallest, case.smallest)).isfinite().all()
        if case.smallest > 1:
            with pytest.raises(InputError, match=f"{case.smallest}x{case.smallest} or more"):
                net(torch.randn(1, 1, case.smallest - 1, case.smallest + 5))
            with pytest.raises(InputError, match="too small"):
                net(torch.randn(1, 1, case.smallest + 5, case.smallest - 1))
        with pytest.raises(InputError, match="channels=3"):
            net(torch.randn(1, 3, *case.image))
        with pytest.raises(InputError, match="images"):
            net(torch.randn(1, *case.image))


@pytest.mark.parametrize(
    ("name", "most"), [("resnet18", 32), ("resnet18_notes", 32), ("densenet_notes", 60), ("branched_nano", 4)]
)
def test_one_image_that_ends_as_one_pixel_cannot_train(name: str, most: int) -> None:
    """Exactly up to `most` pixels: one more trains."""
    net = CASES[name].build(1)
    with pytest.raises(InputError, match=r"two images .* call \.eval"):
        net(torch.randn(1, 1, most, most))
    net(torch.randn(1, 1, most + 4 if most == 60 else most + 1, most))
    net(torch.randn(2, 1, most, most))


def test_lenets_dense_norms_need_two_images() -> None:
    with pytest.raises(InputError, match="one image"):
        models.LeNet()(torch.randn(1, 1, 28, 28))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="branched_tiny"):
        models.create("branchd_tiny")
    with pytest.raises(InputError, match="known are"):
        models.create("?")


@pytest.mark.parametrize("sizes", [{"classes": 0}, {"channels": 0}])
@pytest.mark.parametrize("name", ["branched_nano", "vgg16", "unet_resnet18"])
def test_empty_sizes_are_refused(name: str, sizes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="=0 is not positive"):
        models.create(name, **sizes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BRANCHED)
def test_every_block_welds_to_one_convolution(name: str, channels: int) -> None:
    net = randomise_statistics(models.create(name, channels=channels))
    after = fuse(net.eval(), torch.randn(1, channels, 32, 32)).report.after
    assert (after.convs, after.norms) == (sum(isinstance(m, ResidualBlock) for m in net.modules()), 0)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize(("convs", "widths", "hidden"), [(1, (4,), ()), (3, (4, 6), (9, 8))])
def test_the_grammar_is_spelled_out(pool: bool, convs: int, widths: tuple, hidden: tuple) -> None:
    grammar = models.Grammar(convs, widths, hidden, pool, grid=2)
    kinds = [type(m).__name__ for m in models.PlainCNN(grammar, 5, 2)]
    stage = ["Conv2d", "ReLU"] * convs + ["MaxPool2d"] * pool
    assert kinds == stage * len(widths) + ["AdaptiveAvgPool2d", "Flatten"] + ["Linear", "ReLU"] * len(hidden) + [
        "Linear"
    ]
    side = 2 ** len(widths) if pool else 1
    assert models.PlainCNN(grammar, 5, 2)(torch.randn(1, 2, side, side)).shape == (1, 5)


def test_a_grammar_without_words_is_refused() -> None:
    for grammar in (models.Grammar(widths=()), models.Grammar(convs=0), models.Grammar(hidden=(0,))):
        with pytest.raises(InputError):
            models.PlainCNN(grammar, 5)


def test_lenet_is_the_notes() -> None:
    norms = [m for m in models.LeNet() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert [(type(m).__name__, m.num_features) for m in norms] == [
        ("BatchNorm2d", 6),
        ("BatchNorm2d", 16),
        ("BatchNorm1d", 120),
        ("BatchNorm1d", 84),
    ]
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(models.LeNet()[8](x), x)  # the adaptive pooling does nothing at 28x28


def test_any_module_can_be_an_encoder() -> None:
    stages = [nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU()), nn.MaxPool2d(2), nn.Conv2d(5, 9, 3, 2, 1)]
    net = models.UNet(stages, classes=2, channels=3)
    assert net.training
    x = torch.randn(2, 3, 35, 29, requires_grad=True)
    y = net(x)
    assert y.shape == (2, 2, 35, 29)
    y[0, :, 17, 14].sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().amax(0) > 0).float().mean() > 0.5  # one pixel's scores see most of the image
    with pytest.raises(InputError, match="no stages"):
        models.UNet([], classes=2)
