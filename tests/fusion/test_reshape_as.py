"""A value's shape taken over from another: the norm between is folded, at every size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchweld.core import relative_error
from torchweld.fusion import fuse


class OfTokens(nn.Module):
    """A linear over tokens and its norm, as LeViT has them; `keep`: the linear's value is read elsewhere too."""

    def __init__(self, way: str, keep: bool) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 10, bias=False), nn.BatchNorm1d(10)
        self.way, self.keep = way, keep

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x.relu())
        z = self.norm(y.flatten(0, 1))
        z = z.reshape_as(y) if self.way == "reshape_as" else z.view_as(y)
        return z.tanh() * y if self.keep else z.tanh()


@pytest.mark.parametrize("way", ["reshape_as", "view_as"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_norm_on_flattened_tokens_is_folded(way: str, keep: bool) -> None:
    torch.manual_seed(0)
    model = OfTokens(way, keep).eval()
    nn.init.normal_(model.norm.running_mean)
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    fused = fuse(model, torch.randn(2, 7, 6))
    if not keep:
        assert (fused.report.before.norms, fused.report.after.norms) == (1, 0)
        assert not any(way in str(n.target) for n in fused.module.graph.nodes)
    for x in (torch.randn(2, 7, 6), torch.randn(5, 3, 6), torch.randn(1, 1, 6)):
        assert relative_error(fused(x), model(x)) < 1e-5
