"""Models that cannot be captured whole: their largest parts are welded, and the rest is as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import CheckFailed, InputError
from torchweld.fusion import Fused, PartlyFused, explain

from .agreement import assert_agree, assert_unmodified, noise, randomised


def _stage(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())


class Branching(nn.Module):
    """A block whose Python looks at the numbers, around a stage that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = _stage(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if float(x.mean()) > -100 else x


class Detector(nn.Module):
    """As detectors are: a backbone, a head, and boxes chosen by their scores."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(_stage(3, 6), _stage(6, 6))
        self.neck = Branching()
        self.head = _stage(6, 4)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(self.head(self.neck(self.backbone(x))))
        scores = y.mean((0, 2, 3))
        kept = [i for i, s in enumerate(scores.tolist()) if s > -100]
        return {"scores": scores, "kept": y[:, kept]}


def _detector() -> nn.Module:
    torch.manual_seed(0)
    return randomised(Detector()).double()


def _partly(model: nn.Module, x: object, **options: object) -> PartlyFused:
    before = copy.deepcopy(model.state_dict())
    fused = tw.fuse(model, x, partial=True, **options)
    assert isinstance(fused, PartlyFused)
    assert_unmodified(model, before)
    assert not any(m._forward_pre_hooks for m in model.modules())
    return fused


def test_the_largest_parts_are_welded_and_the_rest_says_why() -> None:
    model, x = _detector(), noise(2, 3, 9, 8)
    with pytest.raises(InputError, match="cannot be captured"):
        tw.fuse(model, x)
    fused = _partly(model, x)
    assert list(fused.parts) == ["backbone", "neck.inner", "head"]
    reasons = {d.where: d.reason for d in fused.declined}
    assert "cannot be captured" in reasons["Detector"]
    assert "cannot be captured" in reasons["neck"]
    assert "not called" in reasons["unused"]
    assert isinstance(fused.module, Detector)
    assert not any(isinstance(m, nn.BatchNorm2d) for n, m in fused.module.named_modules() if n != "norm")
    for other in (x, noise(1, 3, 12, 7)):
        assert_agree(fused.module, model, other)
    assert fused.report.certificate.twin_error <= 1e-10
    assert (fused.report.before.norms, fused.report.after.norms) == (4, 0)
    assert "backbone" in explain(fused.report)
    assert all("." in w.where for w in fused.report.rewrites)


def test_it_follows_its_original_and_says_what_it_cannot() -> None:
    model, x = _detector(), noise(2, 3, 9, 8)
    fused = _partly(model, x)
    assert fused.stale(model) == ()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.1)
    assert "head.0.weight" in fused.stale(model)
    fused.refresh(model)
    assert_agree(fused.module, model, x)
    assert fused.origins["backbone.0.0.weight"].sources[0].startswith("backbone.0.")
    with pytest.raises(InputError, match=r"\.parts\['backbone'\]\.save"):
        fused.save("model.pt2")


def test_patterns_choose_what_may_be_welded() -> None:
    model, x = _detector(), noise(2, 3, 9, 8)
    assert list(_partly(model, x, include=["head"]).parts) == ["head"]
    fused = _partly(model, x, exclude=["backbone.1", "neck*"])
    assert list(fused.parts) == ["backbone.0", "head"]
    assert isinstance(fused.module.backbone[1][1], nn.BatchNorm2d)
    assert {d.where: d.reason for d in fused.declined}["backbone"] == "backbone.1 in it is excluded"
    assert_agree(fused.module, model, x)
    with pytest.raises(InputError, match="matches no module"):
        _partly(model, x, exclude=["backbon"])
    with pytest.raises(InputError, match="partial=True"):
        tw.fuse(model, x, partial=False, exclude=["head"])


def test_a_whole_that_can_be_captured_is_welded_as_one() -> None:
    model = randomised(_stage(3, 4)).double()
    assert isinstance(tw.fuse(model, noise(2, 3, 7, 7), partial=True), Fused)


def test_a_part_that_others_look_into_stays() -> None:
    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage, self.other = _stage(3, 4), _stage(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.other(self.stage(x))
            return y * float(y.max()) * self.stage[0].out_channels

    fused = _partly(randomised(Looking()).double(), noise(2, 3, 7, 7))
    assert list(fused.parts) == ["other"]
    assert "more of it than its forward" in {d.where: d.reason for d in fused.declined}["stage"]


def test_a_shared_part_is_welded_at_each_of_its_places() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = _stage(3, 3)
            self.b = self.a

        def forward(self, x: Tensor) -> Tensor:
            y = self.b(self.a(x))
            return y if float(y.sum()) > -1e9 else x

    model = randomised(Shared()).double()
    fused = _partly(model, noise(2, 3, 7, 7))
    assert fused.module.a is fused.module.b
    assert_agree(fused.module, model, noise(2, 3, 7, 7))


def test_nothing_to_weld_training_mode_and_failing_inputs_are_said() -> None:
    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) if float(x.sum()) < 1e9 else x

    with pytest.raises(InputError, match="no part of Nothing"):
        tw.fuse(Nothing().eval(), torch.randn(2, 3), partial=True)
    with pytest.raises(InputError, match="training mode"):
        tw.fuse(_detector().train(), noise(2, 3, 9, 8), partial=True)
    with pytest.raises(InputError, match="does not run"):
        tw.fuse(_detector(), noise(2, 4, 9, 8), partial=True)


def test_several_examples_are_all_proven() -> None:
    model = randomised(_stage(3, 4)).double()
    fused = tw.fuse(model, [(noise(2, 3, 9, 8),), (noise(7, 3, 31, 5),)])
    assert "7x3x31x5" in [c.shapes for c in fused.report.certificate.checks]
    parts = _partly(_detector(), [(noise(2, 3, 9, 8),), (noise(1, 3, 17, 5),)])
    assert [c.shapes for c in parts.report.certificate.checks] == ["2x3x9x8", "1x3x17x5"]


def test_an_example_of_a_size_that_is_fixed_is_refused() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.shape[2] == 5 else x

    with pytest.raises((InputError, CheckFailed), match=r"2x3x6|other sizes"):
        tw.fuse(Fixed().eval(), [(torch.randn(2, 3, 5),), (torch.randn(2, 3, 6),)])
