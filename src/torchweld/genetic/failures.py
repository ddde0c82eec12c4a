"""Runs that end early. Both errors carry the state of the last whole generation, from which `ga` goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchweld.core import InputError

if TYPE_CHECKING:
    from torchweld.genetic.state import State


class EvaluationFailed(InputError):
    """An evaluation raised, gave NaN, or its worker died; the cause is chained."""

    state: State | None = None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run: go on with `ga(..., start=error.state)`."""

    state: State | None = None
