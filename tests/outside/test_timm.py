"""The convolutions and norms that are left of timm's networks, and what the welding costs in accuracy: nothing."""

from __future__ import annotations

import copy
from typing import NamedTuple

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import torchweld as tw
from torchweld.core import relative_error


class Left(NamedTuple):
    """The most convolutions and norms that may be left; `exactly` these where a number was reached by hand before."""

    convs: int
    norms: int
    exactly: bool


MODELS = {
    "repvgg_a0": Left(22, 0, True),
    "mobileone_s0": Left(43, 0, True),
    "resnet18": Left(20, 0, True),
    "fastvit_t8": Left(52, 0, False),
    "repghostnet_050": Left(95, 0, False),
    "densenet121": Left(120, 62, False),
}
EXAMPLE = (1, 3, 96, 96)
OTHERS = ((2, 3, 96, 64), (5, 3, 75, 67))


def _trained(name: str) -> nn.Module:
    """With the statistics of a network that has seen something: every norm shifts and scales, none is near identity."""
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def _ran(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize("name", MODELS)
def test_counts_and_errors(name: str) -> None:
    model, wanted = _trained(name), MODELS[name]
    before = copy.deepcopy(model.state_dict())
    report = (fused := tw.fuse(model, torch.randn(EXAMPLE))).report
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    if wanted.exactly:
        assert (report.after.convs, report.after.norms) == (wanted.convs, wanted.norms)
    assert report.after.convs <= wanted.convs
    assert report.after.norms <= wanted.norms

    certificate = report.certificate
    assert certificate.twin_error <= 1e-10
    assert certificate.fused_error <= max(1.5 * certificate.native_error, 16 * torch.finfo(torch.float32).eps)
    sizes = [tuple(map(int, check.shapes.split("x"))) for check in certificate.checks]
    assert len({size[0] for size in sizes}) >= 3
    assert any(size[2] % 2 and size[3] % 2 and size[2] != size[3] for size in sizes)

    exact = copy.deepcopy(model).double()
    for shape in OTHERS:
        x = torch.randn(shape)
        expected = _ran(exact, x.double())
        native = relative_error(_ran(model, x), expected)
        assert relative_error(_ran(fused.module, x), expected) <= 1.5 * native + 2 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_networks_of_other_kinds(name: str) -> None:
    model, x = _trained(name), torch.randn(1, 3, 224, 224)
    fused = tw.fuse(model, x)
    assert fused.report.certificate.twin_error <= 1e-10
    assert fused.report.after.flops <= fused.report.before.flops
    y = torch.randn(2, 3, 224, 224)
    expected = _ran(copy.deepcopy(model).double(), y.double())
    native = relative_error(_ran(model, y), expected)
    assert relative_error(_ran(fused.module, y), expected) <= 1.5 * native + 2 * torch.finfo(torch.float32).eps
    if name.startswith("vit"):
        with pytest.raises((AssertionError, RuntimeError)):
            fused(torch.randn(1, 3, 240, 224))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    model = _trained("mobileone_s0").to(dtype)
    fused = tw.fuse(model, torch.randn(EXAMPLE, dtype=dtype))
    certificate = fused.report.certificate
    assert certificate.twin_error <= 1e-10
    assert certificate.fused_error <= certificate.fused_bound
    assert (fused.report.after.convs, fused.report.after.norms) == (43, 0)


def test_fusing_twice_changes_nothing() -> None:
    x = torch.randn(EXAMPLE)
    once = tw.fuse(_trained("resnet18"), x)
    twice = tw.fuse(once.module, x)
    assert twice.report.after == once.report.after
    assert twice.module.code == once.module.code
    assert twice.report.rewrites == ()


def test_after_timms_own_conversion_nothing_is_worse() -> None:
    x = torch.randn(EXAMPLE)
    converted = timm.utils.reparameterize_model(_trained("repvgg_a0")).eval()
    after = tw.fuse(converted, x).report.after
    assert (after.convs, after.norms) == (22, 0)
