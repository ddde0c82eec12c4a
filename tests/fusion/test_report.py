"""The report: what was welded by which law, what was declined and why, and figures that add up."""

from __future__ import annotations

import json
import math

import torch
from torch import Tensor, nn

from torchweld.fusion import Fused, explain

from .agreement import noise, weld


class Border(nn.Module):
    """A biased 1x1 before a zero-padded 3x3, over few channels, where merging would pay if it were exact."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.point, self.window = nn.Conv2d(4, 4, 1, bias=bias), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.window(self.point(x))


def _reasons(fused: Fused, where: str = "") -> str:
    return "\n".join(d.reason for d in fused.report.refusals if where in d.where)


def test_a_bias_before_zero_padding_is_declined_with_the_border_as_the_reason() -> None:
    refused = weld(Border(bias=True), noise(2, 4, 9, 8))
    assert refused.report.after.convs == 2
    assert (
        "a bias before zero padding: the padding is zero there, not the bias, so the border would differ"
        in _reasons(refused, "window")
    )
    merged = weld(Border(bias=False), noise(2, 4, 9, 8))
    assert merged.report.after.convs == 1
    assert merged.report.refusals == ()


def test_convolutions_with_a_relu_between_are_not_even_candidates() -> None:
    layers = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    fused = weld(nn.Sequential(*layers, nn.Conv2d(4, 4, 3, padding=1)), noise(2, 4, 9, 8))
    assert fused.report.after.convs == 2
    assert fused.report.refusals == ()


def test_a_norm_with_nothing_affine_beside_it_says_so() -> None:
    pooled = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU())
    first = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 8, 3))
    x = noise(1, 3, 16, 16)
    assert "it reads 1 (max_pool2d), which is no affine map" in _reasons(weld(pooled, x), "2 (batch_norm)")
    assert "it reads the model's input" in _reasons(weld(first, x), "0 (batch_norm)")


def test_two_padded_windows_are_declined_for_the_near_border() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.Conv2d(2, 2, 3, padding=1, bias=False))
    fused = weld(model, noise(2, 2, 9, 8))
    assert fused.report.after.convs == 2
    assert "near border" in _reasons(fused)


def test_a_merge_that_would_take_longer_is_declined_with_both_figures() -> None:
    model = nn.Sequential(nn.Conv2d(64, 2, 1), nn.Conv2d(2, 64, 1))
    fused = weld(model, noise(1, 64, 40, 40))
    assert fused.report.after.convs == 2
    assert "would take longer: about" in _reasons(fused)
    assert "us instead of" in _reasons(fused)


def test_a_pooling_with_a_changing_divisor_says_so() -> None:
    model = nn.Sequential(nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Conv2d(4, 4, 3))
    assert "divides by less at the border" in _reasons(weld(model, noise(2, 4, 9, 8)))


class Tree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
            nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)),
        )
        self.last = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.stage[0](x) + self.stage[1](x) + x))


def test_welds_name_the_place_the_sources_and_the_laws() -> None:
    fused = weld(Tree(), noise(2, 4, 9, 8))
    (done,) = fused.report.rewrites
    assert done.where == "stage.0.0"
    assert done.sources == ("stage.0.0", "stage.0.1", "stage.1.0", "stage.1.1")
    assert {"add", "batch norm", "compose", "convolution"} <= set(done.laws)
    assert fused.module.get_submodule(done.where).kernel_size == (3, 3)


def test_figures_add_up() -> None:
    fused = weld(Tree(), noise(2, 4, 9, 8))
    before, after, certificate = fused.report.before, fused.report.after, fused.report.certificate
    assert (before.operators, before.convs, before.norms) == (8, 3, 2)
    assert (after.operators, after.convs, after.norms, after.linears) == (3, 2, 0, 0)
    assert after.parameters == sum(p.numel() for p in fused.module.parameters()) == 2 * (4 * 4 * 9 + 4)
    assert after.bytes == 8 * after.parameters
    assert after.flops == 2 * (2 * 2 * 4 * 4 * 9 * 9 * 8)
    assert before.flops == after.flops + 2 * 2 * 4 * 4 * 9 * 8
    assert certificate.twin_error == max(c.twin_error for c in certificate.checks)
    assert len({c.shapes for c in certificate.checks}) >= 3
    assert certificate.checks[0].shapes == "2x4x9x8"
    assert all(math.isfinite(c.fused_error) for c in certificate.checks)
    assert set(fused.report.seconds) == {"capture", "plan", "verify", "emit"}


def test_it_is_json_and_text() -> None:
    fused = weld(Border(bias=True), noise(2, 4, 9, 8))
    told = json.loads(json.dumps(fused.report.to_dict(), allow_nan=False))
    assert told["after"]["convs"] == 2
    assert told["refusals"][0]["where"].startswith("window")
    assert told["certificate"]["twin_bound"] == 1e-10
    text = explain(fused.report)
    assert "convs 2 -> 2" in text
    assert "the border would differ" in text
    tree = explain(weld(Tree(), noise(2, 4, 9, 8)).report).splitlines()
    at = tree.index("  stage")
    assert tree[at + 1] == "    0"
    assert tree[at + 2].startswith("      0: ")
    assert "<-  stage.0.0, stage.0.1, stage.1.0, stage.1.1" in tree[at + 2]


def test_a_norm_in_disguise_counts_as_a_norm() -> None:
    depthwise = nn.Conv2d(4, 4, 1, groups=4)
    fused = weld(nn.Sequential(nn.ReLU(), depthwise, nn.ReLU()), noise(2, 4, 5, 6))
    assert (fused.report.before.norms, fused.report.after.norms) == (1, 1)
    assert fused.report.before.convs == fused.report.after.convs == 0
    standing = weld(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU()), noise(2, 4, 5, 6))
    assert (standing.report.before.norms, standing.report.after.norms) == (1, 1)
