"""Tables of numbers in text: comma, semicolon, tab or spaces between, the last column the target.

A first line with words is a header. Targets that are words, or whole numbers of few values, are classes.

Shapes: N rows, F columns.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from torchweld.data.part import Options, Part
from torchweld.data.problem import Problem
from torchweld.data.splits import Dataset

SUFFIXES = frozenset({".csv", ".tsv", ".dat", ".txt", ".data", ".tab"})
_MOST_GUESSED_CLASSES = 20
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}


def read_table(path: Path, options: Options, train: Part | None) -> Part:
    """The part that a table makes; classes and columns come from `train` unless this is it."""
    problems: list[Problem] = []
    try:
        lines = list(_lines(path))
    except UnicodeDecodeError:
        return _nothing(Problem(str(path), "is not text in UTF-8", "save it as UTF-8"), options)
    except csv.Error as error:
        return _nothing(Problem(str(path), f"cannot be read ({error})", "mend its quotes"), options)
    columns: tuple[str, ...] = ()
    if lines and any(_number(field) is None and not _absent(field) for field in lines[0][1][:-1]):
        columns = tuple(lines.pop(0)[1])
    elif len(lines) > 1 and _number(lines[0][1][-1]) is None and _number(lines[1][1][-1]) is not None:
        columns = tuple(lines.pop(0)[1])  # a table of one column and a target may have words there alone
    width = (
        len(train.columns) + 1 if train is not None and train.columns else len(columns or lines[0][1]) if lines else 0
    )
    if width < 2:
        return _nothing(Problem(str(path), "has no rows of two columns or more", "inputs first, target last"), options)
    inputs, words, names = [], [], []
    for number, fields in lines:
        row = [_number(field) for field in fields[:-1]]
        where = f"{path}, line {number}"
        if len(fields) != width:
            problems.append(Problem(where, f"has {len(fields)} columns where others have {width}", "mend the line"))
        elif any(_absent(field) for field in fields):
            problems.append(Problem(where, "has a value missing", "fill it in, or take the line out"))
        elif None in row:
            bad = fields[row.index(None)]
            problems.append(Problem(where, f"{bad!r} is not a finite number", "write words as numbers"))
        else:
            inputs.append(row)
            words.append(fields[-1].strip())
            names.append(f"line {number}")
    values = [_number(word) for word in words]
    task = train.task if train is not None else options.task or _guessed(words)
    columns = columns[:-1] or (train.columns if train else tuple(f"column {i + 1}" for i in range(width - 1)))
    classes: tuple[str, ...] = ()
    if task == "classify":
        numeric = None not in values
        classes = train.classes if train else tuple(sorted(set(words), key=float if numeric else str))
        numbers = {name: i for i, name in enumerate(classes)}
        unknown = [(name, word) for name, word in zip(names, words, strict=True) if word not in numbers]
        what = "is a class that the training part lacks"
        problems += [Problem(f"{path}, {name}", f"{word!r} {what}", "take it out") for name, word in unknown]
        if train is None and len(classes) == 1:
            problems.append(Problem(str(path), f"has one class only ({classes[0]})", "add rows of others"))
        targets = np.array([numbers.get(word, 0) for word in words], np.int64)
    else:
        for name, word, value in zip(names, words, values, strict=True):
            if value is None:
                problems.append(Problem(f"{path}, {name}", f"target {word!r} is not a finite number", "mend it"))
        targets = np.array([[value or 0.0] for value in values], np.float32)
    if problems or not inputs:
        return Part(None, task, classes, problems=tuple(problems), columns=columns)
    return Part(Dataset(np.array(inputs, np.float32), targets, names), task, classes, columns=columns)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields, without empty lines and comments."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = next((line for line in file if line.strip() and not line.startswith("#")), "")
    mark = max("\t;,", key=first.count)
    with path.open(encoding="utf-8-sig", newline="") as file:
        if first.count(mark):
            reader = csv.reader(file, delimiter=mark, skipinitialspace=True)
            found = ((reader.line_num, fields) for fields in reader)
        else:
            found = ((number, line.split()) for number, line in enumerate(file, 1))
        for number, fields in found:
            if any(field.strip() for field in fields) and not fields[0].startswith("#"):
                yield number, fields


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _absent(text: str) -> bool:
    return text.strip().lower() in _MISSING


def _guessed(targets: list[str]) -> str:
    try:
        values = [float(target) for target in targets]
    except ValueError:
        return "classify"
    distinct = set(values)
    few = len(distinct) <= min(_MOST_GUESSED_CLASSES, len(values) // 2)
    return "classify" if few and all(value.is_integer() for value in distinct) else "regress"


def _nothing(problem: Problem, options: Options) -> Part:
    return Part(None, options.task or "regress", problems=(problem,))
