"""What is wrong with a source, found and listed before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from torchweld.core import InputError

_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """A file or folder, what is wrong with it, and what to do about it.

    >>> str(Problem("a.png", "has no mask", "add a_mask.png"))
    'a.png: has no mask; add a_mask.png'
    """

    path: str
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.mend}"

    def to_dict(self) -> dict[str, str]:
        """The three, by name."""
        return asdict(self)


class BadData(InputError):
    """Data that cannot be used; `problems` has all that is wrong, the message the first few."""

    def __init__(self, message: str, problems: Sequence[Problem]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def refuse(found: Sequence[Problem]) -> None:
    """Raises `BadData`, an `InputError` that lists the first few and counts the rest, if there are any."""
    if not found:
        return
    rest = f" | and {len(found) - _SHOWN} more; torchweld data inspect lists all" if len(found) > _SHOWN else ""
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    raise BadData(f"{count} with the data: " + " | ".join(map(str, found[:_SHOWN])) + rest, found)
