"""How a solution is written as a row that operators can work on: floats, bits or a permutation.

Letters: N individuals, n variables of a solution, L columns of a row (L = n but for bits).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.genes import Bounds, Category, Gene, Integer, Real, genes_of


class Encoding(Protocol):
    """What the algorithm asks of an encoding. `low` and `high` (L,) bound the rows' columns."""

    @property
    def kind(self) -> str: ...

    @property
    def low(self) -> Tensor: ...

    @property
    def high(self) -> Tensor: ...

    @property
    def variables(self) -> int: ...

    def random(self, size: int, generator: torch.Generator) -> Tensor: ...

    def decode(self, rows: Tensor) -> Tensor: ...

    def encode(self, solutions: Tensor) -> Tensor: ...

    def settle(self, children: Tensor, before: Tensor, mates: Tensor | None, generator: torch.Generator) -> Tensor: ...

    def values(self, solution: Tensor) -> Any: ...


@dataclass(frozen=True)
class FloatRows:
    """Rows of floats, one column a gene: log-scaled genes as logarithms, integers unrounded, categories as [0, k).

    Rounding happens on decoding, so that small steps of an integer gene can add up.
    """

    genes: tuple[Gene, ...]
    names: tuple[str, ...] | None
    low: Tensor  # (n,)
    high: Tensor  # (n,)
    plain: bool  # every gene a real on its own scale: decoding changes nothing
    categories: Tensor  # (c,) columns that hold categories
    logs: Tensor  # (n,) bool
    rounded: Tensor  # (n,) bool: integer genes
    kind: str = field(default="float", init=False)

    @property
    def variables(self) -> int:
        return len(self.genes)

    def random(self, size: int, generator: torch.Generator) -> Tensor:
        """Rows drawn uniformly between the bounds, (size, n)."""
        u = torch.rand(size, len(self.genes), generator=generator, device=self.low.device, dtype=self.low.dtype)
        return torch.lerp(self.low, self.high, u)

    def decode(self, rows: Tensor) -> Tensor:
        """Solutions (N, n): the numbers themselves, categories as their index."""
        if self.plain:
            return rows
        values = torch.where(self.logs, rows.exp(), rows)
        values = torch.where(self.rounded, values.round(), values)
        if len(self.categories):
            values[:, self.categories] = rows[:, self.categories].floor()
        return values.clamp(self._limit(0), self._limit(1))

    def encode(self, solutions: Tensor) -> Tensor:
        """Rows (N, n) whose decoding is `solutions`."""
        rows = solutions.to(self.low)
        if self.plain:
            return rows
        rows = torch.where(self.logs, rows.log(), rows)
        if len(self.categories):
            rows[:, self.categories] += 0.5
        return rows

    def settle(self, children: Tensor, before: Tensor, mates: Tensor | None, generator: torch.Generator) -> Tensor:
        """Give category columns of crossed children a parent's value, those that mutation moved a new draw.

        `before` (M, n) holds the rows as they were, `mates` the other parent's; rows equal in both were mutated.
        """
        columns = self.categories
        if self.plain or not len(columns):
            return children
        child, own = children[:, columns], before[:, columns]
        drawn = torch.rand(child.shape, generator=generator, device=child.device, dtype=child.dtype)
        drawn = torch.lerp(self.low[columns].expand_as(child), self.high[columns].expand_as(child), drawn)
        if mates is None:
            settled = torch.where(child == own, own, drawn)
        else:
            other = mates[:, columns]
            settled = torch.where((child - own).abs() <= (child - other).abs(), own, other)
        children = children.clone()
        children[:, columns] = settled
        return children

    def values(self, solution: Tensor) -> Any:
        """What an evaluation of one individual is handed: a dict where genes have names, else a tuple or tensor."""
        if self.plain and self.names is None:
            return solution
        values = [
            g.values[int(v)] if isinstance(g, Category) else int(v) if isinstance(g, Integer) else v
            for g, v in zip(self.genes, solution.tolist(), strict=True)
        ]
        return tuple(values) if self.names is None else dict(zip(self.names, values, strict=True))

    def _limit(self, side: int) -> Tensor:
        limits = [(0, len(g.values) - 1) if isinstance(g, Category) else (g.low, g.high) for g in self.genes]
        return torch.tensor([pair[side] for pair in limits]).to(self.low)


@dataclass(frozen=True)
class BitRows:
    """Rows of bits (uint8), each variable a field of `widths` bits, the most significant first."""

    genes: tuple[Real | Integer, ...]
    names: tuple[str, ...] | None
    widths: tuple[int, ...]
    low: Tensor  # (L,) zeros
    high: Tensor  # (L,) ones
    truncate: bool  # GAOT's own float -> bits floors instead of rounding
    kind: str = field(default="binary", init=False)

    @property
    def variables(self) -> int:
        return len(self.genes)

    def random(self, size: int, generator: torch.Generator) -> Tensor:
        """Fair coin tosses, (size, L)."""
        return torch.randint(2, (size, sum(self.widths)), generator=generator, device=self.low.device).to(torch.uint8)

    def decode(self, rows: Tensor) -> Tensor:
        """Solutions (N, n) in float64: `low + number * (high - low) / (2^bits - 1)`, whole for integer genes."""
        columns = []
        for gene, width, bits in zip(self.genes, self.widths, rows.split(self.widths, 1), strict=True):
            weights = 2.0 ** torch.arange(width - 1, -1, -1, dtype=torch.float64, device=rows.device)
            share = (bits.double() @ weights) / (2**width - 1)
            # lerp meets both bounds exactly
            value = torch.lerp(share.new_tensor(gene.low), share.new_tensor(gene.high), share)
            columns.append(value.round() if isinstance(gene, Integer) else value)
        return torch.stack(columns, 1)

    def encode(self, solutions: Tensor) -> Tensor:
        """The nearest rows (N, L) of solutions (N, n); exact for every decoded row of real genes."""
        fields = []
        for gene, width, values in zip(self.genes, self.widths, solutions.double().unbind(1), strict=True):
            number = (values - gene.low) * ((2**width - 1) / (gene.high - gene.low))
            number = (number.floor() if self.truncate else number.round()).long().clamp(0, 2**width - 1)
            shifts = torch.arange(width - 1, -1, -1, device=solutions.device)
            fields.append((number[:, None] >> shifts & 1).to(torch.uint8))
        return torch.cat(fields, 1)

    def settle(self, children: Tensor, before: Tensor, mates: Tensor | None, generator: torch.Generator) -> Tensor:
        return children

    def values(self, solution: Tensor) -> Any:
        numbers = [int(v) if isinstance(g, Integer) else v for g, v in zip(self.genes, solution.tolist(), strict=True)]
        return solution if self.names is None else dict(zip(self.names, numbers, strict=True))


@dataclass(frozen=True)
class OrderRows:
    """Rows that are permutations of 0 .. length-1 (int64)."""

    length: int
    low: Tensor
    high: Tensor
    kind: str = field(default="permutation", init=False)

    @property
    def variables(self) -> int:
        return self.length

    def random(self, size: int, generator: torch.Generator) -> Tensor:
        """Uniform permutations, (size, length)."""
        keys = torch.rand(size, self.length, generator=generator, dtype=torch.float64, device=self.low.device)
        return keys.argsort(1)

    def decode(self, rows: Tensor) -> Tensor:
        return rows

    def encode(self, solutions: Tensor) -> Tensor:
        """The same permutations, checked; raises `InputError` where a row is none."""
        rows = solutions.to(torch.int64)
        if not torch.equal(rows.sort(1).values, torch.arange(self.length, device=rows.device).expand_as(rows)):
            raise InputError(f"every solution must be a permutation of 0..{self.length - 1}")
        return rows

    def settle(self, children: Tensor, before: Tensor, mates: Tensor | None, generator: torch.Generator) -> Tensor:
        return children

    def values(self, solution: Tensor) -> Any:
        return solution


def encoding_of(
    bounds: Bounds,
    kind: str = "float",
    *,
    precision: float | Sequence[float] = 1e-6,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    compat: str | None = None,
) -> Encoding:
    """The encoding of `bounds`: "float" (mixed genes too), "binary" at `precision`, or "permutation" of a length.

    Binary bits a variable: `ceil(log2((high - low) / precision + 1))`; GAOT leaves the 1 out, which misses the
    precision at powers of two, and `compat="gaot"` does so too. Raises `InputError` on bounds that cannot be used.

    >>> encoding_of([(0, 8)], "binary", precision=1).widths, encoding_of([(0, 8)], "binary", precision=1,
    ...     compat="gaot").widths
    ((4,), (3,))
    """
    if kind == "permutation":
        if not isinstance(bounds, int) or bounds < 2:
            raise InputError(f"a permutation needs its length (an integer of at least 2) as bounds, not {bounds!r}")
        low = torch.zeros(bounds, dtype=torch.int64, device=device)
        return OrderRows(bounds, low, low + (bounds - 1))
    genes, names = genes_of(bounds)
    if kind == "float":
        return _float_rows(genes, names, dtype, device)
    if kind == "binary":
        return _bit_rows(genes, names, precision, device, compat == "gaot")
    raise InputError(f"unknown encoding {kind!r}: one of 'float', 'binary', 'permutation'")


def _float_rows(
    genes: tuple[Gene, ...], names: tuple[str, ...] | None, dtype: torch.dtype, device: torch.device | str
) -> FloatRows:
    spans = []
    for gene in genes:
        if isinstance(gene, Category):
            spans.append((0.0, float(len(gene.values))))
            continue
        margin = 0.5 if isinstance(gene, Integer) else 0.0
        span = (gene.low - margin, gene.high + margin)
        spans.append((math.log(span[0]), math.log(span[1])) if gene.log else span)
    low, high = torch.tensor(spans, dtype=dtype, device=device).unbind(1)
    if not bool(low.isfinite().all() and high.isfinite().all() and (low < high).all()):
        raise InputError(f"the bounds do not fit {dtype}: a lower bound equals its upper one, or one is infinite")
    logs = torch.tensor([not isinstance(g, Category) and g.log for g in genes], device=device)
    rounded = torch.tensor([isinstance(g, Integer) for g in genes], device=device)
    categories = torch.tensor([i for i, g in enumerate(genes) if isinstance(g, Category)], dtype=torch.long)
    plain = not bool(logs.any() or rounded.any() or len(categories))
    return FloatRows(genes, names, low, high, plain, categories.to(device), logs, rounded)


def _bit_rows(
    genes: tuple[Gene, ...],
    names: tuple[str, ...] | None,
    precision: float | Sequence[float],
    device: torch.device | str,
    compat: bool,
) -> BitRows:
    steps = [float(precision)] * len(genes) if isinstance(precision, int | float) else [float(p) for p in precision]
    if len(steps) != len(genes):
        raise InputError(f"{len(steps)} precisions for {len(genes)} variables")
    usable: list[Real | Integer] = []
    widths = []
    for place, (gene, given) in enumerate(zip(genes, steps, strict=True)):
        if isinstance(gene, Category) or gene.log:
            raise InputError(f"variable {place}: binary encoding holds plain numbers; use encoding='float' for {gene}")
        step = 1.0 if isinstance(gene, Integer) else given
        if not 0 < step <= gene.high - gene.low:
            raise InputError(f"variable {place}: precision {step} must be above 0 and at most high - low")
        width = max(1, math.ceil(math.log2((gene.high - gene.low) / step + (0 if compat else 1))))
        # a bit must move the value by more than float64's own grain there, or decoding could not be undone
        grain = math.ulp(max(abs(gene.low), abs(gene.high)))
        if width > 50 or (gene.high - gene.low) / (2**width - 1) < 4 * grain:
            raise InputError(f"variable {place}: precision {step} is finer than float64 holds at these bounds")
        usable.append(gene)
        widths.append(width)
    ends = torch.zeros(sum(widths), dtype=torch.uint8, device=device)
    return BitRows(tuple(usable), names, tuple(widths), ends, ends + 1, compat)
