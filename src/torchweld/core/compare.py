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


def accuracy_bound(dtype: torch.dtype, native_error: float) -> float:
    """The largest relative error allowed in `dtype`: 1.5 times the native model's own, or some roundings if more.

    Sums taken in another order differ by about the square root of their length in roundings: 64 are allowed in float32
    and float64, 16 in the half precisions, where sums are kept in float32.

    >>> accuracy_bound(torch.float32, 1e-5)
    1.5e-05
    """
    eps = torch.finfo(dtype).eps
    return max(1.5 * native_error, (64 if eps < 1e-6 else 16) * eps)
