"""What `fuse` did and declined, as frozen data: counts, welds by law, refusals by reason, the certificate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Counts:
    """Sizes of one graph: `flops` for the example input (a multiply-add is 2), `bytes` of parameters and buffers.

    `norms` counts standalone normalisations by running statistics however written: batch norm, a per-channel
    multiply-and-add, or a 1-tap depthwise convolution.
    """

    operators: int
    convs: int
    linears: int
    norms: int
    parameters: int
    flops: int
    bytes: int


@dataclass(frozen=True)
class Weld:
    """One operation of the fused graph (`where`), the modules it replaces (`sources`), and by which laws."""

    where: str
    sources: tuple[str, ...]
    laws: tuple[str, ...]


@dataclass(frozen=True)
class Declined:
    """A merge that was a candidate and was not made."""

    where: str
    reason: str


@dataclass(frozen=True)
class Check:
    """Relative errors `||a - b|| / ||b||` against the original in float64, for one set of input shapes."""

    shapes: str
    twin_error: float
    fused_error: float
    native_error: float


@dataclass(frozen=True)
class Certificate:
    """The proof made for every fused model: its worst errors over `checks`.

    `twin_error`: the plan in float64 (at most `twin_bound`). `fused_error`: the fused model in its own `dtype` (at most
    `fused_bound`), beside `native_error`, the original's in that dtype.
    """

    dtype: str
    twin_error: float
    twin_bound: float
    fused_error: float
    fused_bound: float
    native_error: float
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class WeightRange:
    """Relative rounding errors of a merged kernel in int8, with one scale for all of it and with one a channel.

    `before` is the worst of the kernels that went in. `risk` says what merging made worse and what to do; "" if none.
    """

    where: str
    tensor_before: float
    tensor_after: float
    channel_before: float
    channel_after: float
    risk: str


@dataclass(frozen=True)
class Report:
    """Everything `fuse` has to say. `notes` names what was fixed at capture; `seconds` is per stage of the pipeline."""

    before: Counts
    after: Counts
    rewrites: tuple[Weld, ...]
    refusals: tuple[Declined, ...]
    certificate: Certificate
    notes: tuple[str, ...]
    seconds: dict[str, float]
    ranges: tuple[WeightRange, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries, lists, numbers and strings, ready for JSON."""
        return asdict(self)
