"""Every torch operator with a known derivative, by the name it is called under: a primitive or a lowering to them.

Beside it stand the operators that have no derivative to lose (comparisons, shapes, positions), and those that would
lose one in silence (`item`, `numpy`, `data`), which are errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torchweld.autodiff import contractions as con
from torchweld.autodiff import losses, recurrent
from torchweld.autodiff import lowerings as low
from torchweld.autodiff import statistics as stat
from torchweld.autodiff.elementwise import ELEMENTWISE
from torchweld.autodiff.products import CHOLESKY, PRODUCTS
from torchweld.autodiff.rows import STRONG, Row
from torchweld.autodiff.shapes import GETITEM, SETITEM, SHAPES
from torchweld.core import InputError

PRIMITIVES: tuple[Row, ...] = (*ELEMENTWISE, STRONG, *SHAPES, *PRODUCTS)
_BY_NAME = {row.name: row for row in PRIMITIVES}
_CALLED_DIRECTLY = (
    {row.name for row in ELEMENTWISE}
    | {"clone", "index_select", "gather", "masked_select", "masked_fill", "diagonal", "diag_embed", "tril", "triu"}
    | {"unfold", "index_add", "scatter_add", "sum", "mean", "amax", "amin", "logsumexp", "cumsum", "softmax"}
    | {"log_softmax", "linear", "where"}
)


def _same(x: Any, *_: Any, **__: Any) -> Any:
    return x


def _swapped(row: Row) -> Callable[..., Any]:
    return lambda x, other: row(other, x, *(default for _, default in row.params[2:]))


def _to(dtype: torch.dtype) -> Callable[..., Any]:
    return lambda x, **_: low.to(x, dtype)


def _clamp_one(side: str) -> Callable[..., Any]:
    clamp = _BY_NAME["clamp"]
    return lambda x, bound: clamp(x, bound, None) if side == "min" else clamp(x, None, bound)


_MUL, _ADD, _SUB, _DIV, _POW = (_BY_NAME[n] for n in ("mul", "add", "sub", "div", "pow"))

OPERATORS: dict[str, Row | Callable[..., Any]] = {
    **{name: _BY_NAME[name] for name in _CALLED_DIRECTLY},
    # other names of the same primitive
    **{f"__{n}__": _BY_NAME[n] for n in ("add", "sub", "mul", "pow", "neg", "abs")},
    "__radd__": _swapped(_ADD), "__rmul__": _swapped(_MUL), "__rsub__": _swapped(_SUB), "rsub": _swapped(_SUB),
    "__truediv__": _DIV, "__div__": _DIV, "__rtruediv__": _swapped(_DIV), "__rdiv__": _swapped(_DIV),
    "__rpow__": _swapped(_POW), "float_power": _POW, "__mod__": _BY_NAME["remainder"], "__pos__": _same,
    "multiply": _MUL, "subtract": _SUB, "divide": _DIV, "true_divide": _DIV, "negative": _BY_NAME["neg"],
    "absolute": _BY_NAME["abs"], "arcsin": _BY_NAME["asin"], "arccos": _BY_NAME["acos"], "arctan": _BY_NAME["atan"],
    "arcsinh": _BY_NAME["asinh"], "arccosh": _BY_NAME["acosh"], "arctanh": _BY_NAME["atanh"],
    "arctan2": _BY_NAME["atan2"], "clip": _BY_NAME["clamp"], "clamp_min": _clamp_one("min"),
    "clamp_max": _clamp_one("max"), "special_expit": _BY_NAME["sigmoid"], "special_xlogy": _BY_NAME["xlogy"],
    "special_erf": _BY_NAME["erf"], "special_erfc": _BY_NAME["erfc"], "special_erfinv": _BY_NAME["erfinv"],
    "special_exp2": _BY_NAME["exp2"], "special_expm1": _BY_NAME["expm1"], "special_log1p": _BY_NAME["log1p"],
    "special_logit": _BY_NAME["logit"], "special_gammaln": _BY_NAME["lgamma"],
    "special_digamma": _BY_NAME["digamma"], "special_psi": _BY_NAME["digamma"], "special_sinc": _BY_NAME["sinc"],
    "polygamma": _BY_NAME["polygamma"], "special_polygamma": _BY_NAME["polygamma"], "sgn": _BY_NAME["sign"],
    "fix": _BY_NAME["trunc"], "special_round": _BY_NAME["round"], "special_logsumexp": _BY_NAME["logsumexp"],
    "logsigmoid": _BY_NAME["log_sigmoid"], "special_softmax": _BY_NAME["softmax"],
    "special_log_softmax": _BY_NAME["log_softmax"], "linalg_diagonal": _BY_NAME["diagonal"],
    # the same numbers elsewhere
    "__getitem__": GETITEM, "contiguous": _same, "requires_grad_": _same, "alias": _same,
    "view": low.view, "reshape": low.reshape, "flatten": low.flatten, "ravel": low.flatten, "unflatten": low.unflatten,
    "squeeze": low.squeeze, "unsqueeze": low.unsqueeze, "permute": low.permute, "transpose": low.transpose,
    "swapaxes": low.transpose, "swapdims": low.transpose, "t": low.t, "T": low.t, "mT": low.mT, "adjoint": low.mT,
    "H": low.t, "mH": low.mT, "movedim": low.movedim, "moveaxis": low.movedim, "expand": low.expand,
    "broadcast_to": low.expand, "expand_as": low.expand_as, "view_as": lambda x, o: low.reshape(x, o.shape),
    "reshape_as": lambda x, o: low.reshape(x, o.shape), "repeat": low.repeat, "tile": low.tile,
    "repeat_interleave": low.repeat_interleave, "flip": low.flip, "fliplr": low.fliplr, "flipud": low.flipud,
    "roll": lambda x, shifts, dims=(): _BY_NAME["roll"](x, shifts, dims), "narrow": low.narrow, "select": low.select,
    "unbind": low.unbind, "split": low.split, "split_with_sizes": low.split, "chunk": low.chunk,
    "tensor_split": low.tensor_split, "cat": low.cat, "concat": low.cat, "concatenate": low.cat, "stack": low.stack,
    "diag": lambda x, diagonal=0: x.diag_embed(diagonal) if x.dim() == 1 else x.diagonal(diagonal),
    "trace": con.trace, "embedding": low.embedding, "to": low.to, "type_as": low.type_as, "cpu": _same,
    "double": _to(torch.float64), "float": _to(torch.float32), "half": _to(torch.float16),
    "bfloat16": _to(torch.bfloat16), "take_along_dim": lambda x, indices, dim=None: (
        x.flatten().gather(0, indices.flatten()) if dim is None else x.gather(dim, indices)),
    "broadcast_tensors": con.broadcast_tensors, "hstack": lambda xs: low.cat(xs, 0 if xs[0].dim() == 1 else 1),
    "vstack": lambda xs: low.cat([x[None] if x.dim() == 1 else x for x in xs]), "diff": con.diff,
    "column_stack": lambda xs: low.cat([x[:, None] if x.dim() == 1 else x for x in xs], 1),
    # products
    "matmul": con.matmul, "__matmul__": con.matmul, "__rmatmul__": con.rmatmul, "mm": con.matmul, "bmm": con.matmul,
    "mv": con.matmul, "dot": con.matmul, "inner": lambda a, b: con.matmul(a, b.mT if b.dim() > 1 else b),
    "linalg_matmul": con.matmul, "addmm": con.addmm, "addmv": con.addmm, "baddbmm": con.addmm, "outer": con.outer,
    "ger": con.outer, "einsum": con.einsum, "bilinear": con.bilinear, "linalg_cross": con.cross,
    "tensordot": con.tensordot, "kron": con.kron, "vdot": con.matmul, "cdist": con.cdist,
    "dist": lambda a, b, p=2: torch.linalg.vector_norm(a - b, p),
    "addcmul": lambda x, a, b, *, value=1: x + value * (a * b),
    "addcdiv": lambda x, a, b, *, value=1: x + value * (a / b),
    "lerp": lambda a, b, weight: a + weight * (b - a), "det": con.det, "linalg_det": con.det, "logdet": con.logdet,
    "slogdet": con.slogdet, "linalg_slogdet": con.slogdet, "inverse": con.inverse, "linalg_inv": con.inverse,
    "linalg_solve": con.solve, "linalg_cholesky": lambda a: CHOLESKY(a), "cholesky": lambda a: CHOLESKY(a),
    "convolution": lambda x, w, b, s, p, d, t, o, g: con._convolution(x, w, b, s, p, d, g, t, o),
    **{f"conv{n}d": con.conv for n in (1, 2, 3)}, **{f"conv_transpose{n}d": con.conv_transpose for n in (1, 2, 3)},
    # reductions and layers
    "max": stat.maximum_along, "min": stat.minimum_along, "sort": stat.sort, "topk": stat.topk, "median": stat.median,
    "prod": stat.prod, "cumprod": stat.cumprod, "var": stat.var, "std": stat.std, "var_mean": stat.var_mean,
    "std_mean": stat.std_mean, "linalg_vector_norm": stat.vector_norm, "linalg_norm": lambda x, ord=None, dim=None,
    keepdim=False, dtype=None: stat.vector_norm(x, *_vector_only(x, ord, dim), keepdim),
    "dropout": stat.dropout, "glu": stat.glu, "prelu": stat.prelu, "cosine_similarity": stat.cosine_similarity,
    "pairwise_distance": stat.pairwise_distance, "batch_norm": stat.batch_norm, "layer_norm": stat.layer_norm,
    "rms_norm": stat.rms_norm, "group_norm": stat.group_norm, "instance_norm": stat.instance_norm,
    "scaled_dot_product_attention": stat.attention, "mse_loss": losses.mse_loss, "l1_loss": losses.l1_loss,
    "smooth_l1_loss": losses.smooth_l1_loss, "huber_loss": losses.huber_loss, "kl_div": losses.kl_div,
    "binary_cross_entropy": losses.binary_cross_entropy, "nll_loss_nd": losses.nll_loss, "nll_loss": losses.nll_loss,
    "binary_cross_entropy_with_logits": losses.binary_cross_entropy_with_logits,
    "cross_entropy_loss": losses.cross_entropy,
    "lstm": recurrent.lstm, "gru": recurrent.gru, "rnn_tanh": recurrent.rnn_tanh, "rnn_relu": recurrent.rnn_relu,
    "lstm_cell": recurrent.lstm_cell, "gru_cell": recurrent.gru_cell, "rnn_tanh_cell": recurrent.rnn_tanh_cell,
    "rnn_relu_cell": recurrent.rnn_relu_cell, "pad": con.pad, **con.DIRECT,
    **{f"max_pool{n}d": stat.max_pool(n) for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": stat.adaptive_max_pool(n) for n in (1, 2, 3)},
}  # fmt: skip


def _vector_only(x: Any, ord: Any, dim: Any) -> tuple[Any, Any]:
    if ord is None:
        return 2, dim
    if (dim is None and x.dim() > 1) or (isinstance(dim, tuple | list) and len(dim) > 1):
        raise InputError(f"linalg.norm of order {ord!r}: no rule for a matrix norm but Frobenius's, ord=None")
    return ord, dim


IN_PLACE: dict[str, Callable[..., Any]] = {
    "__setitem__": lambda x, index, value: SETITEM(x, index, value),
    "copy_": lambda x, source, *_, **__: SETITEM(x, Ellipsis, source),
    "fill_": lambda x, value: SETITEM(x, Ellipsis, value),
    "zero_": lambda x: SETITEM(x, Ellipsis, 0.0),
}
for _python, _name in (
    ("add", "add"),
    ("sub", "sub"),
    ("mul", "mul"),
    ("truediv", "div"),
    ("div", "div"),
    ("pow", "pow"),
):
    IN_PLACE[f"__i{_python}__"] = OPERATORS[_name]

_COMPARISONS = "eq ne lt le gt ge equal allclose isclose greater greater_equal less less_equal not_equal is_nonzero"
_PREDICATES = "isnan isinf isfinite isposinf isneginf signbit any all logical_and logical_or logical_xor logical_not"
_POSITIONS = "argmax argmin argsort nonzero argwhere count_nonzero searchsorted bucketize floor_divide"
_FRESH = "zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty"
_STOPS = (
    "detach __bool__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __floordiv__ __rfloordiv__ long int bool short isreal"
)

CONSTANT = frozenset(" ".join((_COMPARISONS, _PREDICATES, _POSITIONS, _STOPS, "bernoulli multinomial")).split())
"""Operators whose value has no derivative by its meaning; they run on the bare numbers."""

FRESH = frozenset(_FRESH.split())
"""Operators that make a new tensor like their first argument, whose numbers do not matter."""

METADATA = frozenset(
    [
        "shape",
        "size",
        "dim",
        "ndim",
        "ndimension",
        "dtype",
        "device",
        "numel",
        "nelement",
        "stride",
        "is_contiguous",
        "layout",
        "requires_grad",
        "grad_fn",
        "is_leaf",
        "is_floating_point",
        "is_complex",
        "element_size",
        "storage_offset",
        "is_sparse",
        "is_quantized",
        "is_nested",
        "names",
        "get_device",
        "__len__",
        "__hash__",
        "grad",
        "is_cuda",
        "is_cpu",
        "is_mps",
        "is_meta",
        "is_mkldnn",
        "itemsize",
        "nbytes",
        "is_inference",
        "is_same_size",
        "is_conj",
        "is_neg",
        "is_pinned",
        "is_signed",
        "is_sparse_csr",
        "is_xpu",
        "has_names",
        "_version",
        "is_shared",
    ]
)
"""Questions about the tensor, not its numbers."""

LOSES = frozenset(
    [
        "item",
        "tolist",
        "numpy",
        "data",
        "__float__",
        "__int__",
        "__index__",
        "__complex__",
        "__array__",
        "data_ptr",
        "__format__",
    ]
)
"""Operators that would turn a traced number into a bare one and so lose its derivative in silence."""
