"""Operators that HIPS/autograd checks with its `check_grads`, checked anew: first and second order, both modes.

Written from the list of operators its tests cover (scalar functions, array manipulations, linear algebra), not from
its code.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchweld import autodiff as ad


def check_both_orders(f, *at: Tensor) -> None:
    ad.check(f, *at)
    generator = torch.Generator().manual_seed(1)

    def gradient(*args: Tensor) -> tuple[Tensor, ...]:
        y, back = ad.vjp(f, *args)
        weights = torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).reshape(y.shape)
        return back(weights * (1 + 0.1 * y))

    ad.check(gradient, *at, seed=int(torch.randint(99, (), generator=generator)))


# Cholesky is not here: its argument must stay symmetric while differences move it; see test_agreement


def drawn(*shape: int, positive: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape) + 3)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    return x.abs() + 0.5 if positive else x


SCALAR = {
    "abs": torch.abs,
    "sin": torch.sin,
    "sign": torch.sign,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "cos": torch.cos,
    "sinc": torch.sinc,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "arctan": torch.arctan,
    "arcsinh": torch.arcsinh,
    "degrees": torch.rad2deg,
    "radians": torch.deg2rad,
    "neg": lambda x: -x,
    "power of x": lambda x: x**3,
    "fabs": torch.absolute,
    "reversed": lambda x: 1.7 - 2.0 / (x + 9),
    "erf": torch.erf,
    "erfc": torch.erfc,
    "logistic": torch.sigmoid,
}
POSITIVE = {
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "reciprocal": torch.reciprocal,
    "power": lambda x: x**1.5,
    "to the power x": lambda x: 2.1**x,
    "gammaln": torch.lgamma,
    "polygamma": lambda x: torch.polygamma(1, x),
    "psi": torch.digamma,
}
BINARY = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "arctan2": torch.atan2,
    "hypot": torch.hypot,
    "logaddexp": torch.logaddexp,
    "fmax": torch.fmax,
    "fmin": torch.fmin,
    "mod": lambda x, y: x % y,
}
ARRAY = {
    "transpose": lambda x: x.T,
    "moveaxis": lambda x: x.movedim(0, 1),
    "roll": lambda x: x.roll(2, 1),
    "repeat": lambda x: x.repeat_interleave(2, 1),
    "tile": lambda x: x.tile(2, 3),
    "sort": lambda x: x.sort(1)[0],
    "split": lambda x: x.split(2, 1)[1],
    "diag": lambda x: x[:, :3].diag(),
    "cumsum": lambda x: x.cumsum(0),
    "flipud": torch.flipud,
    "fliplr": torch.fliplr,
    "rot": lambda x: x.mT.flip(0),
    "squeeze": lambda x: x[None].squeeze(),
    "reshape": lambda x: x.reshape(2, -1),
    "ravel": torch.ravel,
    "expand": lambda x: x.unsqueeze(1),
    "sum": torch.sum,
    "sum axis": lambda x: x.sum(1),
    "sum tuple": lambda x: x.sum((0, 1), keepdim=True),
    "mean": torch.mean,
    "mean axis": lambda x: x.mean(0, keepdim=True),
    "var": lambda x: x.var(1, correction=0),
    "var ddof": lambda x: x.var(),
    "std": lambda x: x.std(0),
    "prod": torch.prod,
    "prod axis": lambda x: x.prod(1),
    "max": torch.max,
    "max axis": lambda x: x.amax(1, keepdim=True),
    "min": torch.min,
    "logsumexp": lambda x: x.logsumexp(1),
    "clip": lambda x: x.clip(-0.4, 0.5),
    "triu": torch.triu,
    "tril": lambda x: x.tril(1),
    "trace": lambda x: x[:, :3].trace(),
    "where": lambda x: torch.where(x > 0, x * x, -x),
    "index": lambda x: x[[0, 2, 0], 1:],
    "mask": lambda x: x[:, 0][x[:, 0] > -9],
    "norm": torch.norm,
    "norm axis": lambda x: torch.linalg.vector_norm(x, 2, 1),
    "norm 1": lambda x: x.norm(1),
    "norm p": lambda x: torch.linalg.vector_norm(x, 3.5),
    "diff": lambda x: x.diff(dim=1),
    "pad": lambda x: torch.nn.functional.pad(x, (1, 2)),
}
PAIRS = {
    "dot": (torch.dot, (4,), (4,)),
    "matmul": (torch.matmul, (2, 3), (3, 4)),
    "vector matrix": (torch.matmul, (3,), (2, 3, 4)),
    "batched": (torch.matmul, (2, 3, 4), (4, 2)),
    "outer": (torch.outer, (3,), (4,)),
    "inner": (torch.inner, (2, 3), (4, 3)),
    "tensordot": (lambda a, b: torch.tensordot(a, b, 2), (2, 3, 4), (3, 4, 2)),
    "kron": (torch.kron, (2, 2), (2, 3)),
    "einsum": (lambda a, b: torch.einsum("ijk,lkj->li", a, b), (2, 3, 4), (3, 4, 3)),
    "concatenate": (lambda a, b: torch.cat([a, b], 1), (2, 3), (2, 1)),
    "stack": (lambda a, b: torch.stack([a, b]), (3,), (3,)),
    "cross": (torch.linalg.cross, (2, 3), (2, 3)),
    "solve": (lambda a, b: torch.linalg.solve(a + 5 * torch.eye(3), b), (3, 3), (3, 2)),
}
MATRIX = {
    "inv": torch.linalg.inv,
    "det": torch.linalg.det,
    "slogdet": lambda a: torch.linalg.slogdet(a)[1],
}


@pytest.mark.parametrize("name", SCALAR)
def test_scalar(name: str) -> None:
    check_both_orders(SCALAR[name], drawn(5))
    check_both_orders(SCALAR[name], drawn(1)[0])


@pytest.mark.parametrize("name", POSITIVE)
def test_positive(name: str) -> None:
    check_both_orders(POSITIVE[name], drawn(5, positive=True))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", [((4,), (4,)), ((), (3,)), ((2, 1), (3,)), ((1, 3), (2, 1, 1))])
def test_binary(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    check_both_orders(BINARY[name], drawn(*shapes[0]) + 0.01, drawn(*shapes[1], positive=True) * 1.3)


@pytest.mark.parametrize("name", ARRAY)
def test_array(name: str) -> None:
    check_both_orders(ARRAY[name], drawn(3, 4))


@pytest.mark.parametrize("name", PAIRS)
def test_pair(name: str) -> None:
    f, first, second = PAIRS[name]
    check_both_orders(f, drawn(*first), drawn(*second) + 0.3)


@pytest.mark.parametrize("name", MATRIX)
def test_matrix(name: str) -> None:
    check_both_orders(MATRIX[name], drawn(3, 3) + 3 * torch.eye(3))
    check_both_orders(MATRIX[name], drawn(2, 3, 3) + 3 * torch.eye(3))
