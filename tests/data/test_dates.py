"""Dates: what is written means one day, pure in (seed, index), train and test disjoint."""

from __future__ import annotations

import datetime
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld.core import InputError
from torchweld.data.dates import ISO, WRITTEN, Characters, date_batch, date_pair, held_out

COUNT = 4000
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
UNITS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
TEENS = ("thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth")
TENS = {"twentieth": 20, "thirtieth": 30, "twenty": 20, "thirty": 30}
LATER = {**TENS, **{word: 13 + i for i, word in enumerate(TEENS)}}


def understood(text: str) -> set[datetime.date]:
    """Every day from 1950 to 2049 that a careful reader could take the text for; written without the generator."""
    low = text.lower()
    if match := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", low):
        return days(*(int(g) for g in match.groups()))
    if match := re.fullmatch(r"(\d{4})[-/.](\d+)[-/.](\d+)", low):
        return days(*(int(g) for g in match.groups()))
    if match := re.fullmatch(r"(\d+)\.(\d+)\.(\d{4})", low):
        return days(int(match[3]), int(match[2]), int(match[1]))
    if match := re.fullmatch(r"(\d+)[-/](\d+)[-/](\d{4})", low):
        a, b, year = (int(g) for g in match.groups())
        return days(year, a, b) | days(year, b, a)
    words = re.findall(r"[a-z]+|'?\d+", re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", low))
    found = [MONTHS.index(w[:3]) + 1 for w in words if w[:3] in MONTHS and w not in UNITS]
    assert len(found) == 1, text
    spelled = [value for w in words if (value := ordinal(w)) is not None]
    numbers = [w for w in words if w.strip("'").isdigit()]
    years = [w for w in numbers if w.startswith("'") or len(w) == 4]
    rest = [int(w) for w in numbers if w not in years]
    options = set()
    if spelled:
        day = sum(spelled)
        years += [str(n) for n in rest]
        return set().union(*(days(full(y), found[0], day) for y in years))
    if years:
        return set().union(*(days(full(y), found[0], d) for y in years for d in rest))
    for i, n in enumerate(rest):  # two bare numbers: either may be the day
        for j, m in enumerate(rest):
            if i != j:
                options |= days(full(f"{m:02d}"), found[0], n)
    return options


def ordinal(word: str) -> int | None:
    return UNITS.index(word) + 1 if word in UNITS else LATER.get(word)


def full(year: str) -> int:
    number = int(year.strip("'"))
    return number if number > 99 else number + (1900 if number >= 50 else 2000)


def days(year: int, month: int, day: int) -> set[datetime.date]:
    try:
        return {datetime.date(year, month, day)} if 1950 <= year <= 2049 else set()
    except ValueError:
        return set()


@pytest.mark.parametrize("part", ["train", "test"])
def test_what_is_written_means_one_day_and_that(part: str) -> None:
    for i in range(COUNT):
        text, iso = date_pair(3, i, part)
        assert understood(text) == {datetime.date.fromisoformat(iso)}, text


def test_a_named_weekday_is_the_days_own() -> None:
    named = 0
    for i in range(COUNT):
        text, iso = date_pair(0, i)
        match = re.match(r"(mon|tue|wed|thu|fri|sat|sun)", text.lower())
        if match:
            named += 1
            assert datetime.date.fromisoformat(iso).strftime("%a").lower() == match[1], text
    assert named > COUNT / 10


def test_no_day_is_in_both_parts() -> None:
    train, test = ({date_pair(5, i, part)[1] for i in range(COUNT)} for part in ("train", "test"))
    assert not train & test
    assert len(test) > 1000
    assert {held_out(datetime.date.fromisoformat(d)) for d in train} == {False}
    assert {held_out(datetime.date.fromisoformat(d)) for d in test} == {True}


def test_one_day_in_ten_is_held_out_in_every_decade_and_month() -> None:
    first = datetime.date(1950, 1, 1).toordinal()
    span = [datetime.date.fromordinal(first + i) for i in range(36525)]
    assert span[-1] == datetime.date(2049, 12, 31)
    assert sum(map(held_out, span)) == pytest.approx(3652, rel=0.02)
    for decade in range(195, 205):
        assert 0.08 < sum(held_out(d) for d in span if d.year // 10 == decade) / 3652 < 0.12
    for month in range(1, 13):
        kept = [held_out(d) for d in span if d.month == month]
        assert 0.08 < sum(kept) / len(kept) < 0.12


@given(seed=st.integers(0, 2**40), index=st.integers(0, 2**40))
def test_a_pair_is_a_function_of_seed_and_index(seed: int, index: int) -> None:
    state = torch.get_rng_state()
    assert date_pair(seed, index) == date_pair(seed, index)
    assert torch.equal(state, torch.get_rng_state())
    tokens, lengths = WRITTEN.encode([date_pair(seed, index)[0]])
    assert WRITTEN.decode(tokens) == [date_pair(seed, index)[0]]
    assert lengths.item() <= 64


def test_seeds_and_indices_differ() -> None:
    assert len({date_pair(s, i) for s in range(20) for i in range(20)}) > 390


def test_many_forms_are_written() -> None:
    shapes = {re.sub(r"\d", "0", re.sub(r"[A-Za-z]+", "a", date_pair(1, i)[0])) for i in range(COUNT)}
    assert len(shapes) > 60


def test_a_batch_is_its_pairs() -> None:
    batch = date_batch(2, 10, 6, "test")
    pairs = [date_pair(2, i, "test") for i in range(10, 16)]
    assert WRITTEN.decode(batch.source) == [text for text, _ in pairs]
    assert batch.lengths.tolist() == [len(text) for text, _ in pairs]
    assert ISO.decode(batch.wanted) == [iso for _, iso in pairs]
    assert (batch.given[:, 0] == ISO.start).all()
    assert (batch.wanted[:, -1] == ISO.end).all()
    assert torch.equal(batch.given[:, 1:], batch.wanted[:, :-1])


def test_what_cannot_be_used_is_named() -> None:
    with pytest.raises(InputError, match="'§'"):
        WRITTEN.encode(["3 March § 2012"])
    with pytest.raises(InputError, match="empty"):
        WRITTEN.encode([""])
    with pytest.raises(InputError, match="neither 'train' nor 'test'"):
        date_pair(0, 0, "valid")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="index=-1"):
        date_pair(0, -1)
    with pytest.raises(InputError, match="count=0"):
        date_batch(0, 0, 0)
    assert len(Characters("ab")) == 5
