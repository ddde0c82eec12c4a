"""What goes in and comes out keeps its structure; what cannot be captured is an error of one line."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.fusion.capture import capture

from .agreement import assert_agree, noise, randomised, weld

Pair = namedtuple("Pair", ["left", "right"])


class Folded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))


class TwoInputs(Folded):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x) + self.conv(y), self.conv(x - y)


class TakesADict(Folded):
    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        a, (b, c) = batch["image"], batch["others"]
        return {"sum": self.conv(a + b), "parts": [self.conv(c), {"deep": torch.relu(self.conv(a))}], "number": 3}


class ReturnsANamedTuple(Folded):
    def forward(self, x: Tensor) -> Any:
        return Pair(self.conv(x), [x, self.conv(x) * 2])


class ReturnsItsInput(Folded):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.conv(x)
        return x, y, y


def test_two_inputs_and_two_outputs() -> None:
    fused = weld(
        TwoInputs(), noise(2, 4, 7, 6), noise(2, 4, 7, 6, seed=5), also=[(noise(1, 4, 5, 5), noise(1, 4, 5, 5))]
    )
    assert fused.report.after.norms == 0


def test_a_dictionary_with_a_list_in_it() -> None:
    def batch(n: int, *image: int) -> dict[str, Any]:
        return {"image": noise(n, 4, *image), "others": [noise(n, 4, *image, seed=s) for s in (6, 7)]}

    fused = weld(TakesADict(), batch(2, 7, 6), also=[(batch(1, 5, 5),)])
    assert fused.report.after.norms == 0


@pytest.mark.parametrize("kind", [ReturnsANamedTuple, ReturnsItsInput])
def test_outputs_of_other_structures(kind: type[nn.Module]) -> None:
    weld(kind(), noise(2, 4, 7, 6), also=[(noise(1, 4, 5, 5),)])


class Keywords(Folded):
    def forward(
        self,
        x: Tensor,
        scale: float = 1.0,
        *,
        mask: Tensor | None = None,
        mode: str = "sum",
        other: Tensor | None = None,
    ) -> Tensor:
        y = self.conv(x) * scale
        if mask is not None:
            y = y * mask
        return y + other if mode == "sum" and other is not None else torch.relu(y)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"scale": 0.5},
        {"mask": noise(1, 6, 1, 1)},
        {"other": noise(2, 6, 5, 4), "mode": "sum"},
        {"mode": "none", "other": noise(2, 6, 5, 4), "scale": -2.0},
    ],
)
def test_keyword_inputs_and_constants(kwargs: dict[str, Any]) -> None:
    weld(Keywords(), noise(2, 4, 7, 6), **kwargs)


def test_another_constant_than_at_capture_is_refused() -> None:
    fused = weld(Keywords(), noise(2, 4, 7, 6), scale=0.5)
    fused(noise(2, 4, 7, 6), scale=0.5)
    with pytest.raises(AssertionError, match=r"captured with scale=0\.5"):
        fused(noise(2, 4, 7, 6), scale=0.25)


def test_a_variable_number_of_inputs() -> None:
    class Sum(Folded):
        def forward(self, *xs: Tensor, **named: Tensor) -> Tensor:
            return sum((self.conv(x) for x in xs), torch.zeros((), dtype=xs[0].dtype)) - self.conv(named["minus"])

    weld(Sum(), noise(2, 4, 7, 6), noise(2, 4, 7, 6, seed=8), minus=noise(2, 4, 7, 6, seed=9))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.Conv2d(4, 5, 1)), (4, 7, 6)),
        (nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5)), (4,)),
        (nn.Sequential(nn.Conv1d(4, 6, 3), nn.Conv1d(6, 5, 1)), (4, 9)),
        (nn.Sequential(nn.Conv3d(2, 3, 2), nn.Conv3d(3, 2, 1)), (2, 4, 5, 3)),
    ],
)
def test_inputs_without_a_batch(model: nn.Module, shape: tuple[int, ...]) -> None:
    weld(model, noise(*shape))


def test_integers_as_input() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(11, 6), nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.words(ids))

    ids = torch.tensor([[1, 5, 10], [0, 3, 7]])
    fused = weld(Embedded(), ids, also=[(torch.tensor([[2, 4, 6, 8, 9]]),)])
    assert fused.report.after.linears == 1


def test_a_scalar_tensor_as_input() -> None:
    class Scaled(Folded):
        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.conv(x) * scale

    weld(Scaled(), noise(2, 4, 7, 6), noise(), also=[(noise(1, 4, 5, 5), torch.tensor(3.0, dtype=torch.float64))])


class DataDependent(Folded):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else torch.relu(self.conv(x))


def test_control_flow_on_data_is_an_error_of_one_line() -> None:
    with pytest.raises(tw.InputError, match="DataDependent cannot be captured") as caught:
        tw.fuse(randomised(DataDependent()), noise(2, 4, 7, 6, dtype=torch.float32))
    assert "\n" not in str(caught.value)
    assert "data-dependent Python control flow" in str(caught.value)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((torch.randn(2, 3, 7, 6),), "2x3x7x6"),
        ((torch.randn(2, 4, 1, 6),), "2x4x1x6"),
        ((torch.randn(2, 4, 7, 6).double(),), "2x4x7x6"),
        ((torch.randn(2, 4, 7, 6), 3), "2x4x7x6, 3"),
        (("image",), "'image'"),
        ((), "does not run"),
    ],
)
def test_inputs_that_do_not_fit_are_an_error_of_one_line(args: tuple[Any, ...], said: str) -> None:
    class Plain(Folded):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    with pytest.raises(tw.InputError, match="does not run on the example inputs") as caught:
        tw.fuse(Plain().eval(), args)
    assert "\n" not in str(caught.value)
    assert said in str(caught.value)


def test_axes_that_stay_open() -> None:
    captured = capture(randomised(TwoInputs()), (torch.randn(1, 4, 7, 6), torch.randn(1, 4, 7, 6)))
    assert captured.dynamic_axes == {"L['x']": (0, 2, 3), "L['y']": (0, 2, 3)}
    assert captured.argument_names == ("x", "y")


def test_random_operators_stay_random_and_in_order() -> None:
    class Noisy(Folded):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + torch.rand_like(x[:, :1, 2:, 2:]) * 0

    fused = weld(Noisy(), noise(2, 4, 7, 6), also=[(noise(1, 4, 5, 5),)])
    assert sum("rand_like" in str(node.target) for node in fused.module.graph.nodes) == 1


def test_the_fused_model_takes_arguments_by_name_as_the_original() -> None:
    fused = weld(TwoInputs(), noise(2, 4, 7, 6), noise(2, 4, 7, 6, seed=5))
    x, y = noise(3, 4, 6, 6), noise(3, 4, 6, 6, seed=2)
    assert_agree(fused.module, lambda **k: fused.module(k["x"], k["y"]), y=y, x=x)
