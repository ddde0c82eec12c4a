"""Settings from text: `key=value` pairs of a command line, and the dictionaries of a saved config."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from torchweld.core import InputError
from torchweld.training.config import Config

T = TypeVar("T")


def overridden(config: Config, settings: Iterable[str]) -> Config:
    """`config` with each `key=value` applied; a dot reaches into the augmentation. Values are JSON, or plain words.

    Raises `InputError` that names an unknown key, with the nearest known, or a value of the wrong type.

    >>> overridden(Config(), ["learning_rate=0.3", "augmentation.flip=true", "model=resnet18"]).augmentation.flip
    True
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"{setting!r} is no setting; write key=value")
        *outer, last = key.strip().split(".")
        inside = changes
        for name in outer:
            inside = inside.setdefault(name, {})
        inside[last] = _parsed(text.strip())
    return _changed(config, changes)


def from_dict(settings: Mapping[str, Any]) -> Config:
    """The config that `to_dict` wrote, perhaps through JSON. Missing settings take their defaults.

    >>> from_dict(Config(epochs=3).to_dict()) == Config(epochs=3)
    True
    """
    return _changed(Config(), settings)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"None": None, "True": True, "False": False}.get(text, text)


def _changed(value: T, changes: Mapping[str, Any], prefix: str = "") -> T:
    hints = typing.get_type_hints(type(value))
    known = {f.name for f in fields(cast(Any, value))}
    made: dict[str, Any] = {}
    for name, given in changes.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise InputError(f"there is no setting {prefix}{name}; {hint}")
        current = getattr(value, name)
        if is_dataclass(current) and isinstance(given, Mapping):
            made[name] = _changed(current, given, f"{prefix}{name}.")
        else:
            made[name] = _typed(given, hints[name], f"{prefix}{name}")
    return cast(T, replace(cast(Any, value), **made))


def _typed(given: Any, hint: Any, name: str) -> Any:
    """`given` as the annotation `hint` wants it: integers become floats, lists tuples; anything else is refused."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if given is None and type(None) in inner:
            return None
        return _typed(given, next(t for t in inner if t is not type(None)), name)
    if origin is tuple:
        if isinstance(given, (str, int, float)) and not isinstance(given, bool):
            given = [given]  # one pattern, one milestone
        if isinstance(given, (list, tuple)):
            kinds = [inner[0]] * len(given) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
            if len(kinds) == len(given):
                return tuple(_typed(item, kind, name) for item, kind in zip(given, kinds, strict=True))
    elif hint is float and isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    elif hint in (bool, int, str) and isinstance(given, hint) and (hint is bool or not isinstance(given, bool)):
        return given
    wanted = getattr(hint, "__name__", None) if not inner else str(hint)
    raise InputError(f"{name}={given!r} must be of type {wanted or hint}")
