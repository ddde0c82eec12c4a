"""`expand`: any convolution of any model as parallel branches that are the same function and train as more."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from torchweld.core import InputError, Refusal
from torchweld.fusion.expansion.blocks import block_named
from torchweld.fusion.expansion.choose import Site, check_module, check_seen, costliest, matching, owners
from torchweld.fusion.expansion.make import Made, Making
from torchweld.fusion.expansion.report import KEPT_AT, Expanded, ExpansionReport
from torchweld.fusion.expansion.twin import Twin
from torchweld.fusion.report import Declined


def expand(
    model: nn.Module,
    block: str,
    *,
    calibrate: Tensor | Sequence[Any] | None = None,
    norm: Literal["branch", "after"] = "branch",
    include: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    share: float = 1.0,
    allow_bias: bool = False,
    strength: float = 0.3,
    seed: int = 0,
) -> nn.Module:
    """A copy of the model with convolutions replaced by blocks of parallel branches: the same function, to be trained.

    In eval mode the copy equals the model to rounding (checked, and measured in the report); on the calibration batch
    it does so in training too, so that the first loss is the model's own. Each branch has a gradient of its own.
    Train it, then `collapse` it: the original class, the original keys, the original cost.

    `block`: "rep" (kxk + 1x1 + identity, Ding et al. 2021, RepVGG), "asymmetric" (kxk + 1xk + kx1, Ding et al. 2019,
    ACNet), "diverse" (kxk + 1x1 + 1x1-kxk + 1x1-average, Ding et al. 2021, diverse branch block) or "wide(n)" (n of kxk
    + 1x1 + identity, Vasu et al. 2022, MobileOne). `calibrate`: a batch as training will see it, a tensor (B, C, H, W)
    or a tuple of the model's positional arguments. With `norm="branch"` each branch ends in its own batch norm, in
    place of the one that alone reads the convolution; with `norm="after"` branches have learned factors instead, a
    norm behind stays where it is, and no data is needed. `include`, `exclude`: patterns for the convolutions' names, as
    in `fnmatch`; `share`: only the costliest convolutions that together do this share of the multiplications.
    `strength`: size of each side branch's share of the output, relative to the output. `seed`: of the branches' random
    weights. Without bias and batch norm a convolution is declined, since its branches' norms would leave it a bias;
    `allow_bias=True` accepts one.

    What was expanded, and what was declined for which reason, is in `expansion_report(wide)`.

    Raises `InputError` for an unknown block, without a calibration batch where one is needed, for a batch that the
    model does not run on, and where no convolution could be expanded; `CheckFailed` if the result is another function.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    >>> batch = torch.randn(16, 3, 12, 12)
    >>> wide = expand(model, "diverse", calibrate=batch)
    >>> list(wide[0].branches)
    ['main', 'point', 'point_same', 'point_average']
    >>> torch.allclose(wide.eval()(batch), model.eval()(batch), atol=1e-5)
    True
    """
    making = Making(block_named(block), _normed(norm), strength, seed)
    if not 0 < share <= 1:
        raise InputError(f"share is a part of the multiplications, above 0 and up to 1, not {share}")
    if strength <= 0:
        raise InputError(f"strength is the side branches' share of the output, above 0, not {strength}")
    if calibrate is None and (making.normed or share < 1):
        raise InputError(f"give a calibration batch, calibrate=batch: {_why_needed(making.normed)}")
    chosen = matching(model, _patterns(include), _patterns(exclude))
    declined: dict[str, str] = {}
    sites: list[Site] = []
    owned = owners(model)
    for path, module in chosen.items():
        try:
            sites.append(check_module(path, module, making.block, owned))
        except Refusal as no:
            declined[path] = no.reason
    twin = Twin(model, calibrate)
    if calibrate is not None:
        sites = _by_run(twin, sites, declined, normed=making.normed, allow_bias=allow_bias)
        sites, others = costliest(sites, share)
        declined |= {s.path: f"not among the costliest that do {share:.0%} of the multiplications" for s in others}
    made, refused = making.blocks(model, twin, sites)
    declined |= refused
    if not made:
        some = "; ".join(f"{path}: {reason}" for path, reason in list(declined.items())[:3])
        raise InputError(f"no convolution could be expanded: {some or 'none is left'}")
    error = twin.check(made)
    wide = copy.deepcopy(model)
    for m in made:
        m.settle(wide)
    setattr(
        wide,
        KEPT_AT,
        _report(making, norm, made, tuple(Declined(p, declined[p]) for p in chosen if p in declined), error),
    )
    return wide


def _by_run(twin: Twin, sites: list[Site], declined: dict[str, str], *, normed: bool, allow_bias: bool) -> list[Site]:
    """The sites that a forward pass leaves, with their norms; the reasons of the others go into `declined`."""
    seen, kept = twin.watch({s.path for s in sites}), []
    for site in sites:
        try:
            kept.append(check_seen(site, seen[site.path], twin.norms, normed=normed, allow_bias=allow_bias))
        except Refusal as no:
            declined[site.path] = no.reason
    return kept


def _report(
    making: Making, norm: str, made: Sequence[Made], declined: tuple[Declined, ...], error: float | None
) -> ExpansionReport:
    expanded = tuple(
        Expanded(m.site.path, m.site.norm, m.site.kept, tuple(m.block.branches), m.left_out, m.site.multiplications)
        for m in made
    )
    return ExpansionReport(str(making.block), norm, expanded, declined, error)


def _normed(norm: str) -> bool:
    if norm not in ("branch", "after"):
        raise InputError(f'norm is "branch" or "after", not {norm!r}')
    return norm == "branch"


def _why_needed(normed: bool) -> str:
    return (
        'the branches\' norms take their statistics from it; norm="after" needs none'
        if normed
        else "share is counted on it"
    )


def _patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
