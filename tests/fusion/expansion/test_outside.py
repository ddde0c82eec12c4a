"""Networks that others wrote: expanded, collapsed, and welded to the original's operators."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion import expansion_report, fuse

from .hosts import batch


@pytest.mark.parametrize(
    ("name", "block", "blocks", "kept"),
    [("resnet10t", "rep", 11, 0), ("mobilenetv3_small_050", "diverse", 12, 12), ("ghostnet_050", "asymmetric", 42, 0)],
)
def test_timm(name: str, block: str, blocks: int, kept: int) -> None:
    torch.manual_seed(0)
    model, x = timm.create_model(name).double().eval(), batch(2, 3, 64, 96)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.7, 1.4)
            nn.init.uniform_(module.weight, 0.5, 1.2)
            nn.init.normal_(module.bias, 0, 0.1)
    wide = tw.expand(model, block, calibrate=x)
    report = expansion_report(wide)
    assert (len(report.expanded), sum(e.kept for e in report.expanded)) == (blocks, kept)
    assert report.error is not None
    assert report.error <= 1e-10
    thin = tw.collapse(wide)
    assert type(thin) is type(model)
    assert relative_error(thin(x), model(x)) <= 1e-10
    timm.create_model(name).double().load_state_dict(thin.state_dict(), strict=True)
    if name == "mobilenetv3_small_050":
        native, found = (fuse(m.float(), x[:1].float()).report.after for m in (model, wide))
        assert (found.operators, found.convs, found.norms) == (native.operators, native.convs, native.norms)
