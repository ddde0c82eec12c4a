"""Comparison of tensors, with bounds that come from the dtype."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """`||actual - expected|| / ||expected||` in float64; infinite where shapes differ or only one side is finite.

    Positions where both hold the same infinity or NaN agree.

    >>> relative_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
    0.0
    """
    if actual.shape != expected.shape:
        return math.inf
    a, b = (_flat(t) for t in (actual, expected))
    finite = b.isfinite()
    if not torch.equal(a.isfinite(), finite) or not torch.equal(
        a[~finite].nan_to_num(0, 1, -1), b[~finite].nan_to_num(0, 1, -1)
    ):
        return math.inf
    a, b = a[finite], b[finite]
    difference, size = (a - b).norm().item(), b.norm().item()
    if difference == 0:
        return 0.0
    return difference / size if size > 0 else math.inf


def _flat(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.detach().to("cpu", torch.float64).flatten()


_FLOORS = {  # a network's own error may be next to nothing; sums in another order still differ by some roundings
    torch.float64: 1e-10,
    torch.float32: 64 * torch.finfo(torch.float32).eps,
    torch.bfloat16: 16 * torch.finfo(torch.bfloat16).eps,
    torch.float16: 16 * torch.finfo(torch.float16).eps,
}


def accuracy_bound(dtype: torch.dtype, native_error: float) -> float:
    """The largest relative error allowed in `dtype`: four times the native model's own, or some roundings if more.

    Rounding alone moves the error of an ill-conditioned network by such a factor, up or down, when sums are taken in
    another order. Whether two networks are one function is for float64 to say.

    >>> accuracy_bound(torch.float32, 1e-5)
    4e-05
    """
    return max(4 * native_error, _FLOORS[dtype])
