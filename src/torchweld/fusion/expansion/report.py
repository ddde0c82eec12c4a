"""What `expand` did and declined, as frozen data kept on the expanded model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from torchweld.core import InputError
from torchweld.fusion.report import Declined

KEPT_AT = "_torchweld_expansion"


@dataclass(frozen=True)
class Expanded:
    """One convolution (`where`) that became a block; `norm` is the batch norm behind it, if any.

    The branches took the norm in, or it was `kept` behind the block, since it does more than normalise.

    `multiplications` of the convolution on the calibration batch (0 without one); `left_out`: branches of the block
    that could say nothing new here, with the reason.
    """

    where: str
    norm: str | None
    kept: bool
    branches: tuple[str, ...]
    left_out: tuple[str, ...]
    multiplications: int


@dataclass(frozen=True)
class ExpansionReport:
    """`error` is `||expanded - original|| / ||original||` in eval mode on the calibration batch, None without one.

    It is measured in the model's own dtype; half precision models are checked in float32, before their weights are
    rounded.
    """

    block: str
    norm: str
    expanded: tuple[Expanded, ...]
    declined: tuple[Declined, ...]
    error: float | None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries, lists, numbers and strings, ready for JSON."""
        return asdict(self)


def expansion_report(model: nn.Module) -> ExpansionReport:
    """What `tw.expand` made of a model, and what it declined. Raises `InputError` for a model that it didn't return.

    >>> import torch, torchweld as tw
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1))
    >>> report = tw.fusion.expansion_report(tw.expand(model, "rep", calibrate=torch.randn(4, 3, 9, 9)))
    >>> [(e.where, e.norm, e.branches) for e in report.expanded]
    [('0', '1', ('main', 'point'))]
    >>> [(d.where, d.reason) for d in report.declined]
    [('3', 'a 1x1 convolution: every branch of rep but the identity would be another 1x1')]
    """
    report = getattr(model, KEPT_AT, None)
    if not isinstance(report, ExpansionReport):
        raise InputError(
            f"this {type(model).__name__} was not returned by torchweld.expand, so it has no expansion report"
        )
    return report
