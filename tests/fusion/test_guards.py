"""A branch of Python on a size: the fused model says where it does not hold, or decides as the original does."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import InputError, relative_error
from torchweld.fusion.guards import always_holds, excludes_one_only

from .agreement import EXACT, noise, randomised


class Branching(nn.Module):
    """Two different functions, by a condition on the input's sizes."""

    def __init__(self, condition: Callable[[torch.Size], bool]) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.condition = condition

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x * 2 + 1 if self.condition(x.shape) else torch.relu(x)


CONDITIONS: dict[str, Callable[[torch.Size], bool]] = {
    "one image": lambda s: s[0] == 1,
    "many images": lambda s: s[0] > 3,
    "two images": lambda s: s[0] == 2,
    "height": lambda s: s[2] > 8,
    "height is 8": lambda s: s[2] == 8,
    "height is not 5": lambda s: s[2] != 5,
    "one row": lambda s: s[2] == 1,
    "divisible": lambda s: s[2] % 4 == 0,
    "divisible product": lambda s: (s[2] * s[3]) % 3 == 0,
    "product": lambda s: s[2] * s[3] > 60,
    "square": lambda s: s[2] == s[3],
    "wider": lambda s: s[3] > s[2],
    "halves": lambda s: s[2] // 2 > 3,
    "sum": lambda s: s[0] + s[2] < 9,
    "all sizes": lambda s: s.numel() > 300,
    "either": lambda s: s[0] == 1 or s[3] < 7,
    "remainder of the batch": lambda s: s[0] % 2 == 0 and s[2] > 3,
    "power": lambda s: s[2] ** 2 > 49,
    "square root": lambda s: int(s[2] ** 0.5) ** 2 == s[2],
}
SIZES = [
    (1, 8, 8),
    (2, 8, 8),
    (2, 8, 6),
    (5, 8, 8),
    (1, 9, 9),
    (3, 4, 12),
    (2, 5, 7),
    (4, 12, 5),
    (1, 1, 8),
    (2, 16, 1),
]


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("captured_at", [(1, 8, 8), (2, 9, 6)])
def test_never_silently_wrong(name: str, captured_at: tuple[int, int, int]) -> None:
    model = randomised(Branching(CONDITIONS[name])).double()
    batch, *image = captured_at
    try:
        fused = tw.fuse(model, noise(batch, 4, *image))
    except InputError:
        return
    ran = 0
    for batch, *image in [captured_at, *SIZES]:
        x = noise(batch, 4, *image)
        try:
            actual = fused(x)
        except (AssertionError, RuntimeError):
            continue
        assert relative_error(actual, model(x)) <= EXACT, (batch, image)
        ran += 1
    assert ran, "it runs at least where it was captured"


def test_the_assertion_names_the_size_and_the_mend() -> None:
    fused = tw.fuse(randomised(Branching(lambda s: s[2] > 8)), noise(2, 4, 10, 10, dtype=torch.float32))
    with pytest.raises(AssertionError, match=r"x\.size\(\)\[2\].*capture it anew"):
        fused(torch.randn(2, 4, 6, 10))


def test_a_model_that_fixes_its_size_says_so_and_refuses_others() -> None:
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(noise(8, 7))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x + self.place)

    fused = tw.fuse(Placed().eval(), noise(1, 3, 8, 7))
    assert any("fixes axis" in note and "2 at 8" in note and "3 at 7" in note for note in fused.report.notes)
    assert fused(noise(5, 2, 8, 7)).shape == (5, 2, 8, 7)
    for shape in ((5, 3, 1, 7), (5, 3, 8, 1), (8, 7)):
        with pytest.raises((AssertionError, RuntimeError, IndexError)):
            fused(noise(*shape))


def test_a_classifier_of_flat_features_takes_the_sizes_that_the_original_takes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 5, 2)).eval()
    fused = tw.fuse(model, torch.randn(1, 3, 8, 7))
    assert fused(torch.randn(5, 3, 8, 7)).shape == (5, 2)
    with pytest.raises((AssertionError, RuntimeError)):
        fused(torch.randn(5, 3, 9, 7))


def test_sizes_in_the_computation_stay_sizes() -> None:
    class Sized(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(2)
            return (flat / flat.shape[2] + x.shape[0]).reshape(x.shape[0], -1) + torch.arange(x[0].numel())

    model, example = Sized().eval(), noise(1, 4, 8, 6)
    fused = tw.fuse(model, example)
    for shape in ((1, 4, 8, 6), (3, 4, 5, 7), (2, 4, 1, 9)):
        assert relative_error(fused(noise(*shape)), model(noise(*shape))) <= EXACT


@pytest.mark.parametrize(
    ("condition", "excluded"),
    [
        ("L['x'].size()[0] != 1", ("L['x']", 0)),
        ("L['x'].size()[2] >= 2", ("L['x']", 2)),
        ("L['x'].size()[2] > 2", None),
        ("L['x'].size()[2] != 3", None),
        ("L['x'].size()[2] != L['x'].size()[3]", None),
        ("not a condition", None),
    ],
)
def test_conditions_that_only_exclude_a_size_of_one(condition: str, excluded: tuple[str, int] | None) -> None:
    assert excludes_one_only(condition) == excluded


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("0 < L['x'].size()[0]*L['x'].size()[1]", True),
        ("3*L['x'].size()[0] > 2", True),
        ("L['x'].size()[0] > 1", False),
        ("L['x'].size()[0] - 1 > 0", False),
        ("2 <= L['x'].size()[0]", False),
    ],
)
def test_conditions_that_hold_at_every_size(condition: str, holds: bool) -> None:
    assert always_holds(condition) == holds


def test_conditions_survive_saving(tmp_path: Path) -> None:
    def branch(s: torch.Size) -> bool:
        return max(s[2] - 3, 1) * min(s[3], 7) > 20 and int(s[2] ** 0.5) == 2 and s[3] / 2 > 2.5

    fused = tw.fuse(randomised(Branching(branch)).double(), noise(2, 4, 8, 6))
    assert fused.report.notes == ("input x: the model fixes axis 1 at 4",)
    fused.save(tmp_path / "fused.pt2")
    loaded = torch.export.load(tmp_path / "fused.pt2").module()
    for module in (fused.module, loaded, pickle.loads(pickle.dumps(fused.module))):
        assert relative_error(module(noise(3, 4, 8, 6)), fused(noise(3, 4, 8, 6))) <= EXACT
        for shape in ((2, 4, 5, 6), (2, 4, 9, 6), (2, 4, 8, 5)):
            with pytest.raises((AssertionError, RuntimeError)):
                module(noise(*shape))


def test_a_condition_that_divides_by_a_size_of_zero_is_kept() -> None:
    condition = "4 % (L['x'].size()[0] // 2) == 0"
    assert excludes_one_only(condition) is None
    assert not always_holds(f"1 < {condition[:-5]}")
