"""Objects that watch a run. Anything with these four methods can: records, checkpoints, progress, trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torchweld.training.records import Record, StepRecord

if TYPE_CHECKING:
    from torchweld.training.session import Session


class Watcher(Protocol):
    """Called on rank 0: before the first step, after each step and epoch, and when the run ends, by an error too."""

    def begin(self, session: Session) -> None: ...
    def step_done(self, session: Session, record: StepRecord) -> None: ...
    def epoch_done(self, session: Session, record: Record) -> None: ...
    def end(self, session: Session) -> None: ...
