"""A sample of timm's zoo, small networks of many families: equal, with no norm and no operator more than is needed."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import timm
import torch
from torch.nn.modules.batchnorm import _BatchNorm

import torchweld as tw
from torchweld.core import relative_error


class Sample(NamedTuple):
    """The input's height and width, and the most convolutions and norms that may be left."""

    size: int
    convs: int
    norms: int
    options: dict[str, Any] = {}  # noqa: RUF012


SAMPLES = {
    "mobilenetv3_small_050": Sample(64, 50, 0),
    "hgnetv2_b0": Sample(64, 43, 23),
    "regnetx_002": Sample(64, 44, 0),
    "ghostnet_050": Sample(64, 88, 0),
    "fasternet_t0": Sample(96, 44, 0),
    "shvit_s1": Sample(128, 77, 0),
    "efficientvit_b0": Sample(64, 50, 0),
    "dla46x_c": Sample(64, 49, 0),
    "tinynet_e": Sample(64, 51, 0),
    "poolformer_s12": Sample(64, 28, 0),
    "starnet_s1": Sample(64, 65, 0),
    "iformer_t": Sample(64, 64, 0),
    "test_vit": Sample(160, 1, 0),
    "test_byobnet": Sample(160, 22, 0),
    "test_nfnet": Sample(160, 32, 0),
    "test_convnext": Sample(160, 13, 0),
    "deit_tiny_patch16_224": Sample(64, 1, 0, {"img_size": 64}),
    "gmixer_12_224": Sample(64, 1, 0, {"img_size": 64}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_welded_and_the_same(name: str) -> None:
    sample = SAMPLES[name]
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, **sample.options).eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    fused = tw.fuse(model, torch.randn(1, 3, sample.size, sample.size))
    before, after, certificate = fused.report.before, fused.report.after, fused.report.certificate
    assert certificate.twin_error <= 1e-10
    assert certificate.fused_error <= certificate.fused_bound
    assert after.convs <= sample.convs
    assert after.norms <= sample.norms
    assert after.operators <= before.operators
    x = torch.randn(3, 3, sample.size, sample.size)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())
        native = relative_error(model(x), exact)
        assert relative_error(fused.module(x), exact) <= 4 * native + 64 * torch.finfo(torch.float32).eps
