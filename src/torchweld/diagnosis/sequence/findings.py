"""A claim beside what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["holds", "holds in part", "does not hold here"]


@dataclass(frozen=True)
class Finding:
    """One claim about one core. `about` is the property, `measured` the figures that decided, in words."""

    about: str
    core: str
    claim: str
    measured: str
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judged(whole: bool, part: bool = False) -> Verdict:
    """The verdict for a claim that was met wholly, or in part.

    >>> judged(True), judged(False, True), judged(False)
    ('holds', 'holds in part', 'does not hold here')
    """
    return "holds" if whole else "holds in part" if part else "does not hold here"
