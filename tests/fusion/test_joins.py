"""Maps that read one value become one with a slice for each, where that pays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchweld.core import relative_error
from torchweld.fusion import fuse


class Parallel(nn.Module):
    """Three branches of one kernel; `odd` has another."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(12, n, 1, bias=n != 5) for n in (3, 4, 5))
        self.norm = nn.BatchNorm2d(4)
        self.odd = nn.Conv2d(12, 5, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.a(x).relu(), self.norm(self.b(x)).sigmoid(), torch.tanh(self.c(x)) * self.odd(x).relu()


class Projections(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8, bias=b) for b in (True, False, True))

    def forward(self, x: Tensor) -> Tensor:
        return (self.q(x).relu() + self.k(x).sigmoid()) * self.v(x).tanh()


def test_branches_of_one_kernel_join_and_the_odd_one_stays_apart() -> None:
    torch.manual_seed(0)
    model, x = Parallel().eval(), torch.randn(2, 12, 9, 7)
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    nn.init.normal_(model.norm.running_mean)
    fused = fuse(model, x)
    assert (fused.report.before.convs, fused.report.after.convs) == (4, 2)
    widths = sorted(m.out_channels for m in fused.module.modules() if isinstance(m, nn.Conv2d))
    assert widths == [5, 12]
    assert any("join" in weld.laws for weld in fused.report.rewrites)
    for mine, theirs in zip(fused(x), model(x), strict=True):
        assert relative_error(mine, theirs) < 1e-5


def test_linears_join_with_and_without_bias() -> None:
    torch.manual_seed(0)
    model, x = Projections().eval(), torch.randn(2, 5, 8)
    fused = fuse(model, x)
    assert (fused.report.before.linears, fused.report.after.linears) == (3, 1)
    assert relative_error(fused(x), model(x)) < 1e-5


def test_a_joined_model_refreshes_and_fuses_again_to_itself() -> None:
    torch.manual_seed(0)
    model, x = Projections().eval(), torch.randn(2, 5, 8)
    fused = fuse(model, x)
    again = fuse(fused.module, x)
    assert again.report.after == fused.report.after
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    fused.refresh(model)
    assert relative_error(fused(x), model(x)) < 1e-5


def test_large_maps_stay_apart() -> None:
    torch.manual_seed(0)
    branches = nn.ModuleList([nn.Conv2d(64, 64, 3, padding=1) for _ in range(2)])

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = branches

        def forward(self, x: Tensor) -> Tensor:
            return self.branches[0](x).relu() * self.branches[1](x).tanh()

    fused = fuse(Wide().eval(), torch.randn(1, 64, 56, 56))
    assert fused.report.after.convs == 2
