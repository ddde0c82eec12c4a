"""The three stages of operator fusion, by hand, for one residual block: native, three convolutions, one.

    native   y = W *k x + b  +  P *1 x + c  +  x
    three    y = W *k x + b  +  pad(P) *k x + c  +  D *k x        pad: zeros around the 1x1 kernel; D: Dirac kernel
    one      y = (W + pad(P) + D) *k x + (b + c)

A convolution is linear in its kernel, so kernels of one size that read the same windows may be added before they are
applied instead of after. D copies a channel to itself: within its group, channel i is at position i % (C / groups).
`torchweld.fusion` reaches the same end for any network; here each step can be looked at, run and timed.

Shapes: B batch, C channels, H and W the image, k the kernel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import CheckFailed, InputError, accuracy_bound, relative_error
from torchweld.deploy.engines import eager
from torchweld.deploy.timing import interleaved, load_average
from torchweld.layers import ResidualBlock
from torchweld.training import fastest_threads, limited_threads


@dataclass(frozen=True)
class StageSetting:
    """One block and its input: `image` pixels square.

    >>> str(StageSetting(channels=64, image=56, batch=8))
    '8x64x56x56, 3x3'
    """

    channels: int
    image: int
    batch: int = 1
    kernel: int = 3
    groups: int = 1

    def __str__(self) -> str:
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.batch}x{self.channels}x{self.image}x{self.image}, {self.kernel}x{self.kernel}{groups}"


@dataclass(frozen=True)
class StageRow:
    """Median milliseconds of each stage, and relative errors against the native block in float64."""

    setting: StageSetting
    native_ms: float
    three_ms: float
    one_ms: float
    speedup: float  # native / one
    native_error: float
    three_error: float
    one_error: float


@dataclass(frozen=True)
class StageTable:
    """Rows, and the threads and load they were timed under."""

    rows: tuple[StageRow, ...]
    threads: int
    load_before: float | None
    load_after: float | None

    def to_dict(self) -> dict[str, Any]:
        """The table as plain dictionaries, lists, numbers and strings."""
        return asdict(self)


STAGE_SETTINGS = (
    StageSetting(channels=16, image=56),
    StageSetting(channels=64, image=56),
    StageSetting(channels=64, image=56, batch=8),
    StageSetting(channels=64, image=28, kernel=5),
    StageSetting(channels=64, image=56, groups=4),
    StageSetting(channels=256, image=14),
)


def three_stages(block: ResidualBlock) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The block as it is, as the sum of three convolutions of its kernel's size, and as one convolution.

    Raises `InputError` for a block with batch norm, at a stride, or without identity: those are `fuse`'s business.

    >>> block = ResidualBlock(6, kernel=5, groups=2).double()
    >>> x = torch.randn(1, 6, 7, 9, dtype=torch.float64)
    >>> native, three, one = (stage(x) for stage in three_stages(block))
    >>> relative_error(three, native) < 1e-14, relative_error(one, native) < 1e-14
    (True, True)
    """
    spatial, point = block.spatial, block.point
    if not (
        isinstance(spatial, nn.Conv2d) and isinstance(point, nn.Conv2d) and isinstance(block.identity, nn.Identity)
    ):
        raise InputError("the stages by hand need a block with identity and without norm, at stride 1; use fuse for it")
    padded, dirac = _same_shape(spatial), _same_shape(spatial)
    half = spatial.kernel_size[0] // 2
    with torch.no_grad():
        padded.weight.copy_(F.pad(point.weight, [half] * 4))
        padded.bias = point.bias
        nn.init.dirac_(dirac.weight, groups=spatial.groups)
        nn.init.zeros_(_bias(dirac))
        one = _same_shape(spatial)
        one.weight.copy_(spatial.weight + padded.weight + dirac.weight)
        _bias(one).copy_(_bias(spatial) + _bias(padded) + _bias(dirac))
    return block, _Sum(spatial, padded, dirac), one


def time_stages(
    settings: Sequence[StageSetting] = STAGE_SETTINGS,
    budget_seconds: float = 0.5,
    threads: int | None = None,
    seed: int = 0,
) -> StageTable:
    """The stages side by side, on random blocks and images, for about `budget_seconds` each setting.

    `threads=None` tries one thread and all of them and keeps the faster.
    Raises `CheckFailed` if a stage differs from the native block by more than rounding.
    """
    load_before = load_average()
    if threads is None and settings:
        calls = [_call(*_block(setting, seed)) for setting in settings]
        threads = fastest_threads(lambda: [call() for call in calls], budget_seconds)
    with limited_threads(threads or 1):
        rows = tuple(_row(setting, budget_seconds, seed) for setting in settings)
    return StageTable(rows, threads or 1, load_before, load_average())


@torch.inference_mode()
def _row(setting: StageSetting, budget_seconds: float, seed: int) -> StageRow:
    block, x = _block(setting, seed)
    forms = dict(zip(("native", "three", "one"), three_stages(block), strict=True))
    exact = copy.deepcopy(block).double()(x.double())
    errors = {name: relative_error(form(x), exact) for name, form in forms.items()}
    bound = accuracy_bound(torch.float32, errors["native"])
    for name, error in errors.items():
        if not error <= bound:
            raise CheckFailed(f"stage {name!r} of {setting} differs by {error:.2g} (bound {bound:.2g})")
    taken = interleaved({name: _call(form, x) for name, form in forms.items()}, budget_seconds)
    ms = {name: measured.median_ms for name, measured in taken.items()}
    times = (ms["native"], ms["three"], ms["one"], ms["native"] / ms["one"])
    return StageRow(setting, *times, errors["native"], errors["three"], errors["one"])


def _block(setting: StageSetting, seed: int) -> tuple[ResidualBlock, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block = ResidualBlock(setting.channels, kernel=setting.kernel, groups=setting.groups)
        # Never ones: a kernel put one pixel off, or transposed, gives the same sums on a constant image.
        x = torch.randn(setting.batch, setting.channels, setting.image, setting.image)
    return block.eval(), x


class _Sum(nn.Module):
    """Convolutions of one input, added."""

    def __init__(self, *convs: nn.Module) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, C, H, W)
        first, *others = [conv(x) for conv in self.convs]
        return sum(others, start=first)


def _call(form: nn.Module, x: Tensor) -> Callable[[], object]:
    return eager(form, (x,), {})


def _same_shape(conv: nn.Conv2d) -> nn.Conv2d:
    made = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size[0], padding=conv.padding[0], groups=conv.groups
    )
    return made.to(conv.weight.device, conv.weight.dtype)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
