"""What a search may change: genes over the settings of a training config, by dotted name."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from torchweld.core import InputError
from torchweld.genetic import Category, Encoding, Gene, Integer, Real, encoding_of
from torchweld.training import Config, from_dict

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Space:
    """Genes by the dotted name of the setting that they stand for, in order.

    >>> Space({"learning_rate": Real(0.01, 1.0, log=True)}).names
    ('learning_rate',)
    """

    genes: Mapping[str, Gene]

    def __post_init__(self) -> None:
        if not self.genes:
            raise InputError("the search space is empty: leave a setting open, or give --space key=low:high")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.genes)

    def encoding(self) -> Encoding:
        """How the genetic operators see a point: one column a gene."""
        return encoding_of(self.genes)

    def distributions(self) -> dict[str, BaseDistribution]:
        """The same genes in Optuna's words."""
        return {name: _distribution(gene) for name, gene in self.genes.items()}

    def suggested(self, trial: Trial) -> dict[str, Value]:
        """A value for each gene, from the trial's sampler."""
        values: dict[str, Value] = {}
        for name, gene in self.genes.items():
            if isinstance(gene, Category):
                values[name] = trial.suggest_categorical(name, list(gene.values))  # type: ignore[arg-type]
            elif isinstance(gene, Integer):
                values[name] = trial.suggest_int(name, gene.low, gene.high, log=gene.log)
            else:
                values[name] = trial.suggest_float(name, gene.low, gene.high, log=gene.log)
        return values

    def solution(self, values: Mapping[str, Any]) -> list[float]:
        """The point as numbers, categories as their index: a row of what an encoding decodes to."""
        return [
            float(g.values.index(values[name])) if isinstance(g, Category) else float(values[name])
            for name, g in self.genes.items()
        ]

    def point_of(self, config: Config) -> dict[str, Value] | None:
        """The point that is nearest to `config`, or None where a gene's categories leave its value out.

        Numbers are taken into the bounds; one that is None, as a dropout that is off, counts as 0.
        """
        values = {name: _setting(config, name) for name in self.genes}
        if any(isinstance(gene, Category) and values[name] not in gene.values for name, gene in self.genes.items()):
            return None
        return {name: _nearest(gene, values[name]) for name, gene in self.genes.items()}

    def check(self, config: Config) -> None:
        """Raises `InputError` that names the gene if one of its ends or categories makes no config."""
        for name, gene in self.genes.items():
            for value in gene.values if isinstance(gene, Category) else (gene.low, gene.high):
                try:
                    changed(config, {name: value})
                except InputError as error:
                    raise InputError(f"search space, {name}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The genes as plain values."""
        return {name: {"kind": type(g).__name__.lower(), **_listed(asdict(g))} for name, g in self.genes.items()}


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with these settings, a dot reaching into the augmentation. Raises `InputError` where they make none.

    >>> changed(Config(), {"augmentation.shift_pixels": 2, "dropout": 0.1}).augmentation.shift_pixels
    2
    """
    settings = config.to_dict()
    for name, value in values.items():
        *outer, last = name.split(".")
        inside = settings
        for part in outer:
            if not isinstance(inside.get(part), dict):
                inside[part] = {}
            inside = inside[part]
        inside[last] = value
    return from_dict(settings)


def parsed(settings: Iterable[str]) -> dict[str, Gene]:
    """Genes from `key=low:high`, `key=low:high:log` or `key=a,b,c`.

    Raises `InputError` that names the setting for a key that does not exist, bounds that are none, or values that the
    setting cannot take.

    >>> parsed(["batch_size=16:128:log", "model=branched_nano,branched_tiny"])
    {'batch_size': Integer(low=16, high=128, log=True), 'model': Category(values=('branched_nano', 'branched_tiny'))}
    """
    genes: dict[str, Gene] = {}
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not text:
            raise InputError(f"--space {setting!r}: write key=low:high, key=low:high:log or key=a,b,c")
        try:
            genes[key] = _gene(_kind(key), text)
        except InputError as error:
            raise InputError(f"--space {setting}: {error}") from None
    return genes


def _gene(kind: type, text: str) -> Gene:
    if "," in text:
        return Category(tuple(_word(word.strip()) for word in text.split(",")))
    low, colon, rest = text.partition(":")
    high, _, scale = rest.partition(":")
    if not colon or scale not in ("", "log"):
        raise InputError("write low:high, low:high:log or a,b,c; a single value is for --set")
    if kind not in (int, float):
        raise InputError("this setting is no number; list its values as a,b,c")
    try:
        ends = float(low), float(high)
    except ValueError:
        raise InputError(f"{low} and {high} must be numbers") from None
    if kind is int:
        if any(end != int(end) for end in ends):
            raise InputError("this setting is a whole number, and so must its bounds be")
        return Integer(int(ends[0]), int(ends[1]), bool(scale))
    return Real(*ends, bool(scale))


def _word(text: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return {"None": None, "none": None, "True": True, "False": False}.get(text, text)
    return value if isinstance(value, (int, float, str, bool, type(None))) else text


def _kind(key: str) -> type:
    """The type of the setting, without its None. Raises `InputError` for a key that does not exist."""
    changed(Config(), {key: _setting(Config(), key)})
    owner: type = Config
    *outer, last = key.split(".")
    for part in outer:
        owner = typing.get_type_hints(owner)[part]
    hint = typing.get_type_hints(owner)[last]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(t for t in typing.get_args(hint) if t is not type(None))
    if hint not in (int, float, str, bool):
        raise InputError("only numbers, words and switches can be searched")
    return typing.cast(type, hint)


def _setting(config: Config, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part, None) if is_dataclass(value) else None
    return value


def _nearest(gene: Gene, value: Any) -> Any:
    return value if isinstance(gene, Category) else min(max(value or 0, gene.low), gene.high)


def _distribution(gene: Gene) -> BaseDistribution:
    if isinstance(gene, Category):
        return CategoricalDistribution(gene.values)  # type: ignore[arg-type]
    if isinstance(gene, Integer):
        return IntDistribution(gene.low, gene.high, log=gene.log)
    return FloatDistribution(gene.low, gene.high, log=gene.log)


def _listed(gene: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in gene.items()}
