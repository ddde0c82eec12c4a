"""Human-written dates and what they are in ISO 8601, made by rule: a small task of reading and writing.

A pair is a pure function of (seed, index): `the twenty-third of September '98` -> `1998-09-23`.

Days run from 1950-01-01 to 2049-12-31, so that a year of two digits means one year only; it is written with an
apostrophe where it could be taken for a day (`3 March '12`, but `3 March 98`). Day and month in figures alone are
ambiguous (3/4/2012), so slashes are used for days above 12 only, dots for day.month.year, and year-first for the rest.

One day in ten, by a fixed hash of the day, is held out: no such day occurs in the training part in any form, and the
test part has no other. Forms of writing are those of training.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from torchweld.core import InputError

Part = Literal["train", "test"]

_FIRST, _LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    *("eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth"),
    *("nineteenth", "twentieth"),
)
_FORMS = (  # D day, O its ordinal, M month, Y year, W weekday; 4 the year in full, d m dd mm figures
    "{D} {M} {Y}",
    "{D} {M}, {Y}",
    "{W}, {D} {M} {Y}",
    "{W} {D} {M} {Y}",
    "{M} {D}, {Y}",
    "{W}, {M} {D}, {Y}",
    "the {O} of {M} {Y}",
    "{O} of {M}, {Y}",
    "{W} the {O} of {M} {Y}",
    "{M} the {O}, {Y}",
    "{D}-{M}-{Y}",
    "{y4} {M} {D}",
    "{y4}, {M} {O}",
    "{dd}{mon}{y4}",
    "{y4}-{mm}-{dd}",
    "{y4}/{m}/{d}",
    "{y4}{mm}{dd}",
    "{d}.{m}.{y4}",
    "{dd}.{mm}.{y4}",
)
_CLEAR_FORMS = ("{d}/{m}/{y4}", "{m}/{d}/{y4}", "{dd}/{mm}/{y4}", "{mm}-{dd}-{y4}")  # of days above 12


def date_pair(
    seed: int,
    index: int,
    part: Part = "train",
) -> tuple[str, str]:
    """A date as a person might write it, and in ISO 8601.

    Raises `InputError` for a negative seed or index and for a part that is neither train nor test.

    >>> date_pair(0, 1)
    ("13th-June-'31", '2031-06-13')
    """
    if seed < 0 or index < 0:
        raise InputError(f"seed={seed} and index={index} must not be negative")
    draws = np.random.Generator(np.random.Philox(key=[seed, 2 * index + (part == "test")])).random(9)
    days = _days(part)
    day = datetime.date.fromordinal(days[int(draws[0] * len(days))])
    return _written(day, draws[1:].tolist()), day.isoformat()


def held_out(day: datetime.date) -> bool:
    """Whether a day is in the test part, and so never in the training part.

    >>> held_out(datetime.date(2012, 3, 3))
    False
    """
    return day.toordinal() * 2654435761 % 2**32 < 2**32 // 10  # Knuth's multiplicative hash


@functools.cache
def _days(part: Part) -> tuple[int, ...]:
    if part not in ("train", "test"):
        raise InputError(f"part={part!r} is neither 'train' nor 'test'")
    days = range(_FIRST.toordinal(), _LAST.toordinal() + 1)
    return tuple(d for d in days if held_out(datetime.date.fromordinal(d)) == (part == "test"))


def _written(day: datetime.date, draws: Sequence[float]) -> str:
    """One of the forms, with variants of each field, in one of three cases; each draw is for one choice."""

    def choose(draw: float, options: Sequence[str]) -> str:
        return options[int(draw * len(options))]

    d, name, weekday = day.day, _MONTHS[day.month - 1], _WEEKDAYS[day.weekday()]
    suffix = "th" if d in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    short = name[:4] if name == "September" and draws[7] < 0.5 else name[:3]
    month = choose(draws[1], (name, name, short, f"{short}." if short != name else name))
    brief = f"{day.year % 100:02d}"
    year = choose(draws[2], (str(day.year), str(day.year), f"'{brief}", brief if day.year % 100 > 31 else f"'{brief}"))
    fields = {
        "D": choose(draws[3], (str(d), str(d), f"{d:02d}", f"{d}{suffix}")),
        "O": choose(draws[3], (f"{d}{suffix}", _ordinal(d))),
        "M": month,
        "Y": year,
        "W": choose(draws[4], (weekday, weekday[:3], f"{weekday[:3]}.")),
        "y4": str(day.year),
        "mon": name[:3].upper(),
        "d": str(d),
        "m": str(day.month),
        "dd": f"{d:02d}",
        "mm": f"{day.month:02d}",
    }
    text = choose(draws[0], _FORMS + _CLEAR_FORMS if d > 12 else _FORMS).format(**fields)
    text = text[0].upper() + text[1:]
    return choose(draws[5], (text, text, text.lower(), text.upper()))


def _ordinal(number: int) -> str:
    """
    >>> _ordinal(3), _ordinal(20), _ordinal(31)
    ('third', 'twentieth', 'thirty-first')
    """
    if number <= 20:
        return _UNITS[number - 1]
    tens, unit = ("twenty" if number < 30 else "thirty"), number % 10
    return f"{tens}-{_UNITS[unit - 1]}" if unit else "thirtieth"


@dataclass(frozen=True)
class Characters:
    """A vocabulary of characters behind three tokens of its own: padding 0, start 1, end 2.

    >>> letters = Characters("abc")
    >>> tokens, lengths = letters.encode(["ab", "cab"])
    >>> tokens, lengths
    (tensor([[3, 4, 0],
            [5, 3, 4]]), tensor([2, 3]))
    >>> letters.decode(tokens)
    ['ab', 'cab']
    """

    characters: str
    padding: int = 0
    start: int = 1
    end: int = 2

    def __len__(self) -> int:
        return len(self.characters) + 3

    def encode(
        self,
        texts: Sequence[str],
    ) -> tuple[Tensor, Tensor]:  # (B, T), (B,)
        """Texts as one batch, padded on the right. Raises `InputError` for a character that is not in it."""
        known = {c: i + 3 for i, c in enumerate(self.characters)}
        for text in texts:
            strange = sorted(set(text) - known.keys())
            if strange or not text:
                raise InputError(
                    f"{text!r} has {strange[0]!r}, which is none of {self.characters!r}"
                    if strange
                    else "a text is empty"
                )
        rows = [[known[c] for c in text] for text in texts]
        longest = max(map(len, rows), default=1)
        tokens = torch.tensor([row + [self.padding] * (longest - len(row)) for row in rows])
        return tokens, torch.tensor([len(row) for row in rows])

    def decode(
        self,
        tokens: Tensor,  # (B, T)
    ) -> list[str]:
        """Each row up to its first end or padding."""
        texts = []
        for row in tokens.tolist():
            ends = [i for i, token in enumerate(row) if token in (self.padding, self.end)]
            kept = row[: ends[0]] if ends else row
            texts.append("".join(self.characters[t - 3] for t in kept if t >= 3))
        return texts


WRITTEN = Characters(" ',-./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
ISO = Characters("-0123456789")


@dataclass(frozen=True, eq=False)
class DateBatch:
    """Dates as tokens. `given` is the start and all of `wanted` but its last: what each wanted token follows."""

    source: Tensor  # (B, S)
    lengths: Tensor  # (B,)
    given: Tensor  # (B, 11)
    wanted: Tensor  # (B, 11)


def date_batch(seed: int, first: int, count: int, part: Part = "train") -> DateBatch:
    """The pairs `first` to `first + count - 1` of a part as tokens.

    >>> batch = date_batch(0, 0, 4)
    >>> batch.given.shape, ISO.decode(batch.wanted)[0] == date_pair(0, 0)[1]
    (torch.Size([4, 11]), True)
    """
    if count < 1:
        raise InputError(f"count={count} dates make no batch; give 1 or more")
    texts, days = zip(*(date_pair(seed, first + i, part) for i in range(count)), strict=True)
    source, lengths = WRITTEN.encode(texts)
    days_tokens, _ = ISO.encode(days)
    edge = torch.ones(count, 1, dtype=torch.int64)
    wanted = torch.cat((days_tokens, edge * ISO.end), 1)
    return DateBatch(source, lengths, torch.cat((edge * ISO.start, days_tokens), 1), wanted)
