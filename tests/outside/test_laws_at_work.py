"""Laws that only whole networks show: joined branches, poolings that change places, norms that others leave behind."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

import torchweld as tw
from torchweld.fusion import Fused

from .test_timm import _trained


def _fused(model: nn.Module, side: int) -> Fused:
    fused = tw.fuse(model.eval(), torch.randn(1, 3, side, side))
    assert fused.report.certificate.twin_error <= 1e-10
    return fused


INCEPTIONS = {
    "torchvision": lambda: torchvision.models.inception_v3(weights=None, init_weights=False, aux_logits=True),
    "timm": lambda: timm.create_model("inception_v3"),
}


@pytest.mark.parametrize("name", INCEPTIONS)
def test_the_parallel_1x1_branches_of_inception_are_joined(name: str) -> None:
    torch.manual_seed(0)
    report = _fused(INCEPTIONS[name](), 96).report
    joins = [w for w in report.rewrites if "join" in w.laws]
    assert len(joins) >= 9, "one in each block that has parallel 1x1 convolutions"
    assert any(sum("branch1x1" in s or "branch_pool" in s or "_1" in s for s in w.sources) >= 2 for w in joins)
    assert report.after.convs <= report.before.convs - 15
    assert (report.before.norms, report.after.norms) == (94, 0)


def test_densenets_transitions_pool_before_they_convolve() -> None:
    fused = _fused(_trained("densenet121"), 64)
    saved = sum(
        3 * (channels * channels // 2) * 2 * side * side // 4 for channels, side in ((256, 16), (512, 8), (1024, 4))
    )
    assert fused.report.before.flops - fused.report.after.flops == pytest.approx(saved, rel=0.01)


LEFT = {"nextvit_small": 34, "ghostnetv3_050": 54}  # norms that timm's own conversion leaves


@pytest.mark.parametrize("name", LEFT)
def test_fewer_norms_than_timms_own_conversion_leaves(name: str) -> None:
    model = _trained(name)
    converted = timm.utils.reparameterize_model(model)
    theirs = sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in converted.modules())
    assert theirs >= LEFT[name] - 4
    assert _fused(model, 64).report.after.norms <= min(3, theirs // 10)
