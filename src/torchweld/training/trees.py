"""Nested state as tensors and JSON, without pickle: what safetensors can hold, for any optimiser's or model's state.

A tensor inside becomes `{"tensor": name}`; dictionaries whose keys are not strings, and tuples, are marked, so that
`unpacked(*packed(tree)) == tree` for any nesting of dictionaries, lists, tuples, tensors, numbers, strings and None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from torchweld.core import InputError

_MARKS = frozenset({"tensor", "items", "tuple", "float"})


def packed(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Tensors by name, and the rest as JSON. Raises `InputError` for anything that is neither, with its place.

    >>> import torch
    >>> tensors, rest = packed({"step": 3, "sum": torch.zeros(2)})
    >>> list(tensors), rest
    (['sum'], {'step': 3, 'sum': {'tensor': 'sum'}})
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _packed(tree, "", tensors)


def _packed(tree: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        name = place or "value"
        tensors[name] = tree.detach()
        return {"tensor": name}
    if tree is None or isinstance(tree, (bool, int, str)):
        return tree
    if isinstance(tree, float):  # JSON has neither infinity nor NaN
        return tree if math.isfinite(tree) else {"float": repr(tree)}
    if isinstance(tree, Mapping):
        items = [(key, _packed(value, f"{place}/{key}".lstrip("/"), tensors)) for key, value in tree.items()]
        if all(isinstance(key, str) for key in tree) and not (len(tree) == 1 and _MARKS & tree.keys()):
            return dict(items)
        return {"items": [[_packed(key, f"{place}/key", tensors), value] for key, value in items]}
    if isinstance(tree, (list, tuple)):
        values = [_packed(value, f"{place}/{i}".lstrip("/"), tensors) for i, value in enumerate(tree)]
        return values if isinstance(tree, list) else {"tuple": values}
    raise InputError(
        f"{place}: a {type(tree).__name__} has no place in a checkpoint; keep tensors, numbers and strings"
    )


def unpacked(tensors: Mapping[str, Tensor], tree: Any) -> Any:
    """The state again.

    >>> unpacked({}, packed({0: (1, 2.5), "of": [None]})[1])
    {0: (1, 2.5), 'of': [None]}
    """
    if isinstance(tree, list):
        return [unpacked(tensors, value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        [(mark, value)] = tree.items()
        if mark == "tensor" and isinstance(value, str):
            return tensors[value]
        if mark == "float":
            return float(value)
        if mark == "tuple":
            return tuple(unpacked(tensors, item) for item in value)
        if mark == "items":
            return {unpacked(tensors, key): unpacked(tensors, item) for key, item in value}
    return {key: unpacked(tensors, value) for key, value in tree.items()}
