"""The value of a node as a sum of maps applied to other values: `sum of map(chain(leaf)) + bias`.

A *chain* is a list of views (reshape, permute, mean, pooling, a slice) applied to a leaf before the map. Views act on
other axes than the channels', so they commute with maps at each position, and a view of a sum of such maps is a sum of
maps of views. One bias stands for the whole expression, so "a bias before zero padding" is one check.

An expression without an axis is *bare*: leaves added up, before any map has said which axis the channels are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch.fx import Node

from torchweld.core import Refusal
from torchweld.fusion.rows import gathered, negative, placed, spread_out, strided
from torchweld.fusion.sizes import Shape, static
from torchweld.maps import (
    ConvMap,
    Geometry,
    Recipe,
    Sizes,
    add,
    columns,
    compose,
    composed_bias,
    concat,
    identity,
    negate,
    reads_padding,
    scale,
    total,
)
from torchweld.maps import select as select_rows

MOST_TERMS = 8  # longer sums are residual streams: never cheaper than the values they are made of


@dataclass(frozen=True)
class Leaf:
    """A value that must exist, or a view taken of another leaf (`source`). `shape` is what it has then."""

    value: Node
    shape: Shape = field(compare=False)
    source: Leaf | None = None
    view: Node | None = None

    def viewed(self, view: Node, shape: Shape) -> Leaf:
        return Leaf(self.value, shape, self, view)

    @property
    def links(self) -> tuple[Leaf, ...]:
        """The views of the chain, the first first; () for the value itself."""
        return () if self.source is None else (*self.source.links, self)


@dataclass(frozen=True)
class Term:
    """`map(leaf)` as output channels `row` and following; no map, no axis yet: the leaf itself."""

    leaf: Leaf
    map: ConvMap | None = None
    row: int = 0

    @property
    def rows(self) -> int:
        assert self.map is not None
        return self.map.geometry.out_channels


@dataclass(frozen=True)
class Expression:
    """A sum of terms with one bias over `channels` along `axis` (None: bare). `laws` says how it came to be."""

    terms: tuple[Term, ...]
    axis: int | None = None
    channels: int = 0
    bias: Recipe | None = None
    laws: frozenset[tuple[str, Node]] = frozenset()

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(dict.fromkeys(t.leaf for t in self.terms))


def bare(leaf: Leaf) -> Expression:
    return Expression((Term(leaf),))


def along(e: Expression, axis: int) -> Expression:
    """The expression with its channels on `axis`."""
    if e.axis == axis:
        return e
    if e.axis is not None:
        raise Refusal(f"the channels lie on axis {e.axis}, this operation mixes axis {axis}")
    terms = []
    for t in e.terms:
        channels = t.leaf.shape[axis]
        if not isinstance(channels, int):
            raise Refusal(f"axis {axis} has a dynamic size")
        terms.append(replace(t, map=identity(channels)))
    return Expression(tuple(terms), axis, terms[0].rows, None, e.laws)


def mapped(second: ConvMap, e: Expression, axis: int) -> Expression:
    """`second(e)`."""
    e = along(e, axis)
    g = second.geometry
    if e.channels != g.in_channels:
        raise Refusal(f"{e.channels} channels into a map of {g.in_channels}")
    plain = replace(second, bias=None)
    if e.bias is not None and g.transposed:
        raise Refusal("a bias before a transposed convolution: its outputs read different numbers of taps")
    if e.bias is not None and g.padded and g.padding_mode == "zeros" and _padding_read(g, e, axis):
        raise Refusal("a bias before zero padding: the padding is zero there, not the bias, so the border would differ")
    terms = []
    for t in e.terms:
        assert t.map is not None
        part, row = columns(plain, t.row, t.row + t.rows)
        terms.append(Term(t.leaf, compose(part, t.map, sizes_of(t.leaf, axis)), row))
    return Expression(tuple(terms), axis, g.out_channels, composed_bias(second, e.bias), e.laws)


def summed(a: Expression, b: Expression, *, minus: bool) -> Expression:
    """`a + b` or `a - b`; terms stay apart."""
    if a.axis is None and b.axis is None and not minus:
        return _few(Expression(a.terms + b.terms, laws=a.laws | b.laws))
    axis = a.axis if a.axis is not None else b.axis if b.axis is not None else _guess(a)
    a, b = along(a, axis), along(b, axis)
    if a.channels != b.channels:
        raise Refusal(f"{a.channels} channels and {b.channels} channels")
    if minus:
        b = negated(b)
    bias = total(a.bias, b.bias) if a.bias and b.bias else a.bias or b.bias
    return _few(Expression(a.terms + b.terms, axis, a.channels, bias, a.laws | b.laws))


def negated(e: Expression) -> Expression:
    minus = Recipe("negate", negative, (e.bias,)) if e.bias else None
    return replace(e, terms=tuple(replace(t, map=negate(t.map)) for t in e.terms if t.map), bias=minus)


def shifted(e: Expression, bias: Recipe, axis: int) -> Expression:
    e = along(e, axis)
    return replace(e, bias=bias if e.bias is None else total(e.bias, bias))


def concatenated(parts: tuple[Expression, ...], axis: int) -> Expression:
    """The channels of the parts, one part after the other."""
    terms: list[Term] = []
    bias, row = None, 0
    laws: frozenset[tuple[str, Node]] = frozenset()
    parts = tuple(along(p, axis) for p in parts)
    channels = sum(p.channels for p in parts)
    for p in parts:
        terms += [replace(t, row=t.row + row) for t in p.terms]
        if p.bias is not None:
            own = Recipe("concat", placed, (p.bias,), (row, channels))
            bias = own if bias is None else total(bias, own)
        row, laws = row + p.channels, laws | p.laws
    return _few(Expression(tuple(terms), axis, channels, bias, laws))


def chosen(e: Expression, axis: int, rows: range, view: Node, shape: Shape) -> Expression:
    """Some channels of the expression; `view` is the slice itself, of `shape`, for terms that it can pass through."""
    if e.axis is None:
        return viewed(e, view, shape, None)
    e = along(e, axis)
    terms = []
    for t in e.terms:
        assert t.map is not None
        if t.map.geometry.per_channel and t.row == 0 and t.rows == e.channels:
            leaf = t.leaf.viewed(view, _resized(t.leaf.shape, axis, len(rows)))
            terms.append(Term(leaf, _picked(t.map, rows)))
            continue
        wanted = [r - t.row for r in rows if t.row <= r < t.row + t.rows]
        if t.map.geometry.pointwise and t.map.geometry.per_channel and 0 < len(wanted) < t.rows:
            raise Refusal("a slice through a value that is not computed here")
        if wanted:
            row = next(i for i, r in enumerate(rows) if t.row <= r < t.row + t.rows)
            terms.append(Term(t.leaf, select_rows(t.map, wanted), row))
    bias = Recipe("select", strided, (e.bias,), (rows,)) if e.bias else None
    return Expression(tuple(terms), axis, len(rows), bias, e.laws)


def reordered(e: Expression, order: tuple[int, ...]) -> Expression:
    """The channels in another order, some perhaps several times."""
    terms = []
    for t in e.terms:
        if t.map is None or t.rows != e.channels:
            raise Refusal("a shuffle of parts that are computed apart")
        terms.append(replace(t, map=select_rows(t.map, order)))
    bias = Recipe("select", gathered, (e.bias,), (order,)) if e.bias else None
    return replace(e, terms=tuple(terms), channels=len(order), bias=bias)


def flattened(e: Expression, view: Node, shape: Shape, axis: int, before: int, after: int) -> Expression:
    """A view by which a channel becomes `after` neighbouring ones, and the row of them is repeated `before` times."""
    terms = []
    for t in e.terms:
        if t.map is None or t.rows != e.channels or not (t.map.geometry.pointwise and t.map.geometry.per_channel):
            raise Refusal("channels that are mixed before they are flattened with other axes")
        leaf = t.leaf.viewed(view, shape)
        wide = before * after * e.channels
        weight = Recipe("repeat", spread_out, (t.map.weight,), (before, after))
        terms.append(Term(leaf, identity(wide) if t.map.is_identity else scale(weight, None, wide)))
    bias = Recipe("repeat", spread_out, (e.bias,), (before, after)) if e.bias else None
    return replace(e, terms=tuple(terms), axis=axis, channels=before * after * e.channels, bias=bias)


def viewed(e: Expression, view: Node, shape: Shape, axis: int | None, *, keeps_shift: bool = True) -> Expression:
    """A view of the expression, whose channels it moves to `axis`."""
    if e.bias is not None and not keeps_shift:
        raise Refusal("this view does not keep a constant shift at the border")
    terms = []
    for t in e.terms:
        if t.map is None:
            terms.append(Term(t.leaf.viewed(view, shape)))
        elif t.map.geometry.pointwise and axis is not None:
            leaf = t.leaf.viewed(view, _resized(shape, axis, t.map.geometry.in_channels))
            terms.append(replace(t, leaf=leaf))
        else:
            raise Refusal("a view commutes with maps at each position only, on an axis that it keeps")
    return replace(e, terms=tuple(terms), axis=None if e.axis is None else axis)


def merged(e: Expression, i: int, j: int) -> Expression:
    """Terms i and j, which read one leaf, as one: added where they give the same rows, joined where adjacent."""
    a, b = e.terms[i], e.terms[j]
    if a.leaf != b.leaf or a.map is None or b.map is None or e.axis is None:
        raise Refusal("different inputs")
    sizes = sizes_of(a.leaf, e.axis)
    if (a.row, a.rows) == (b.row, b.rows):
        joined = Term(a.leaf, add(a.map, b.map, sizes), a.row)
    elif a.row + a.rows == b.row:
        joined = Term(a.leaf, concat(a.map, b.map, sizes), a.row)
    elif b.row + b.rows == a.row:
        joined = Term(a.leaf, concat(b.map, a.map, sizes), b.row)
    else:
        raise Refusal("the channel ranges overlap in part")
    rest = tuple(t for k, t in enumerate(e.terms) if k not in (i, j))
    return replace(e, terms=(*rest, joined))


def sizes_of(leaf: Leaf, axis: int) -> Sizes:
    """The spatial sizes that a map with channels on `axis` sees."""
    return static(leaf.shape[axis + 1 :])


def ranges(e: Expression) -> tuple[tuple[int, int], ...] | None:
    """The terms' partial row ranges, in order, if they tile the channels; () if all are whole; None if neither."""
    partial = sorted({(t.row, t.row + t.rows) for t in e.terms if t.rows != e.channels})
    ends = [0, *(stop for _, stop in partial)]
    tiled = all(start == end for (start, _), end in zip(partial, ends, strict=False)) and ends[-1] in (0, e.channels)
    return tuple(partial) if tiled else None


def _few(e: Expression) -> Expression:
    if len(e.leaves) > MOST_TERMS:
        raise Refusal(f"a sum over more than {MOST_TERMS} values")
    return e


def _guess(e: Expression) -> int:
    """The axis of a difference of bare leaves: the field's channel axis."""
    ndim = len(e.terms[0].leaf.shape)
    if ndim < 2:
        raise Refusal("a difference of vectors")
    return 1


def _padding_read(g: Geometry, e: Expression, axis: int) -> bool:
    """Whether a map reads its own padding after the terms' maps."""
    t = e.terms[0]
    assert t.map is not None
    first = t.map.geometry.lifted(g.rank)
    sizes = sizes_of(t.leaf, axis)
    return first.rank != g.rank or len(sizes) != g.rank or reads_padding(g, first.output_sizes(sizes))


def _resized(shape: Shape, axis: int, channels: int) -> Shape:
    return (*shape[:axis], channels, *shape[axis + 1 :])


def _picked(a: ConvMap, rows: range) -> ConvMap:
    """A per-channel map on some of its channels."""
    geometry = replace(a.geometry, in_channels=len(rows), out_channels=len(rows), groups=len(rows))
    if a.is_identity:
        return identity(len(rows))
    return ConvMap(geometry, Recipe("select", strided, (a.weight,), (rows,)))
