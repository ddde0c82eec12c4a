"""What a core sees of order and place: its answer to shuffled, shifted and stretched input.

    order      || f(Px) - P f(x) || / || f(x) ||     P a permutation of the positions
    absolute   two marks among fillers, both moved:            how far the outputs at the marks change
    relative   the same two marks, the second moved away alone: how far the outputs at the marks change

An answer of 0 (to rounding, in float64) says that the core cannot see it. The scene keeps its length and its number of
fillers, so that only places change. `absolute` is measured twice: in the middle, and with the first mark at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.diagnosis.sequence.findings import Finding, judged
from torchweld.layers import sinusoids
from torchweld.models.sequence import Encoder, Sizes, mixer

_FEATURES, _LAYERS, _LENGTH, _DRAWS = 32, 2, 96, 5
_MIDDLE, _GAP, _SHIFT = 40, 2, 12
UNSEEN, SEEN = 1e-10, 1e-2  # relative, in float64: rounding stays below the first by far


@dataclass(frozen=True)
class Variant:
    """A core with or without ("bare") position encoding, and what is said to be seen by it."""

    name: str
    core: str
    positions: bool
    order: bool
    absolute: bool
    relative: bool


VARIANTS = (
    Variant("cnn", "cnn", False, order=True, absolute=False, relative=True),
    Variant("gru", "gru", False, order=True, absolute=True, relative=True),
    Variant("transformer, bare", "transformer", False, order=False, absolute=False, relative=False),
    Variant("transformer", "transformer", True, order=True, absolute=True, relative=True),
)


@dataclass(frozen=True)
class Response:
    """Relative changes of the output, the mean over several draws of weights and inputs."""

    variant: str
    order: float
    absolute_middle: float
    absolute_border: float
    relative: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def responses(seed: int = 0) -> tuple[Response, ...]:
    """The answer of each of `VARIANTS`, encoders of two layers with fresh weights."""
    made = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for variant in VARIANTS:
            torch.manual_seed(seed)
            rows = torch.tensor([_answers(variant) for _ in range(_DRAWS)])
            made.append(Response(variant.name, *rows.mean(0).tolist()))
    return tuple(made)


def _answers(variant: Variant) -> tuple[float, float, float, float]:
    sizes = Sizes(1, 1, features=_FEATURES)
    encoder = Encoder([mixer(variant.core, sizes, causal=False) for _ in range(_LAYERS)]).double().eval()
    table = sinusoids(_LENGTH, _FEATURES).double() if variant.positions else 0

    def encode(x: Tensor) -> Tensor:  # (T, D)
        return encoder((x + table)[None])[0]

    x, order = torch.randn(_LENGTH, _FEATURES, dtype=torch.float64), torch.randperm(_LENGTH)
    whole = encode(x)
    shuffled = (encode(x[order]) - whole[order]).norm() / whole.norm()
    filler, *marks = torch.randn(3, _FEATURES, dtype=torch.float64)

    def at_marks(first: int, gap: int) -> Tensor:  # (2, D)
        scene = filler.repeat(_LENGTH, 1)
        scene[first], scene[first + gap] = marks
        return encode(scene)[[first, first + gap]]

    def change(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm() / b.norm())

    middle = at_marks(_MIDDLE, _GAP)
    return (
        float(shuffled),
        change(at_marks(_MIDDLE + _SHIFT, _GAP), middle),
        change(at_marks(0, _GAP), middle),
        change(at_marks(_MIDDLE, _GAP + _SHIFT), middle),
    )


def position_findings(measured: Sequence[Response]) -> tuple[Finding, ...]:
    """What is said to be seen against what is."""
    made = []
    for variant, r in zip(VARIANTS, measured, strict=True):
        for about, seen, answer in (
            ("order", variant.order, r.order),
            ("relative position", variant.relative, r.relative),
        ):
            right = answer > SEEN if seen else answer < UNSEEN
            part = seen and answer > UNSEEN
            made.append(Finding(about, variant.name, _claim(seen), f"{answer:.2g}", judged(right, part)))
        near = (r.absolute_middle, r.absolute_border)
        if variant.absolute:
            verdict = judged(min(near) > SEEN, max(near) > SEEN)
        else:
            verdict = judged(max(near) < UNSEEN, min(near) < UNSEEN)
        said = f"{near[0]:.2g} inside, {near[1]:.2g} at the border"
        made.append(Finding("absolute position", variant.name, _claim(variant.absolute), said, verdict))
    return tuple(made)


def _claim(seen: bool) -> str:
    return "seen" if seen else "not seen"
