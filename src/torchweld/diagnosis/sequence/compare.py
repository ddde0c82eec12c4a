"""All measurements of the cores, and the table of findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torchweld.core import InputError
from torchweld.diagnosis.sequence.cost import Growth, cost_findings, costs
from torchweld.diagnosis.sequence.findings import Finding
from torchweld.diagnosis.sequence.positions import Response, position_findings, responses
from torchweld.diagnosis.sequence.reach import Reach, path_lengths, reach, reach_findings
from torchweld.models.sequence import cores


@dataclass(frozen=True)
class SequenceComparison:
    """What was measured and what follows. `growths` are FLOPs, seconds, serial steps and path lengths by length."""

    seed: int
    growths: tuple[Growth, ...]
    responses: tuple[Response, ...]
    reaches: tuple[Reach, ...]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_sequences(seed: int = 0, watch: Callable[[str], object] = lambda doing: None) -> SequenceComparison:
    """Measure the CNN, the RNN and the Transformer of `models.sequence`, with fresh weights; about ten seconds.

    `watch` is told what is being measured. All but the seconds is a function of the seed. Raises `InputError` for a
    negative seed.
    """
    if seed < 0:
        raise InputError(f"seed={seed} must not be negative")
    watch("cost against length")
    grown = costs(seed)
    watch("shuffled and shifted input")
    answers = responses(seed)
    watch("reach by depth")
    reached = tuple(reach(core, seed) for core in cores())
    watch("path lengths")
    paths = tuple(path_lengths(core, seed) for core in cores())
    findings = (*cost_findings(grown), *reach_findings(reached, paths), *position_findings(answers))
    return SequenceComparison(seed, (*grown, *paths), answers, reached, findings)
