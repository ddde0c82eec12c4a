"""A bar with loss, speed and time left on a terminal; a few plain lines elsewhere, so that logs stay short."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console

from torchweld.training.records import Record, StepRecord

if TYPE_CHECKING:
    from torchweld.training.session import Session

_MEMORY = 0.95  # of the running means that are shown


class Progress:
    """A bar on stderr where it is a terminal; elsewhere about `lines` lines."""

    def __init__(self, console: Console | None = None, lines: int = 6) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.lines = lines
        self.bar: bars.Progress | None = None
        self.task = bars.TaskID(0)
        self.loss = self.seconds = self.waited = self.samples = 0.0
        self.held_out = ""

    def begin(self, session: Session) -> None:
        if not self.console.is_terminal:
            return
        columns = (bars.TextColumn("training"), bars.BarColumn(), bars.TextColumn("{task.description}"))
        self.bar = bars.Progress(*columns, bars.TimeRemainingColumn(), console=self.console, transient=True)
        self.task = self.bar.add_task("the first step", total=session.config.epochs)
        self.bar.update(self.task, completed=session.epochs_done)
        self.bar.start()

    def step_done(self, session: Session, record: StepRecord) -> None:
        if self.bar is None:
            return
        first = self.seconds == 0
        for name, value in (("loss", record.loss), ("seconds", record.seconds), ("samples", float(record.samples)),
                            ("waited", record.waiting_seconds)):  # fmt: skip
            old = getattr(self, name)
            setattr(self, name, value if first else _MEMORY * old + (1 - _MEMORY) * value)
        line = (
            f"epoch {record.epoch}/{session.config.epochs}  loss {self.loss:.3f}{self.held_out}  "
            f"{self.samples / self.seconds:,.0f} samples/s  waiting {self.waited / self.seconds:.0%}"
        )
        self.bar.update(self.task, completed=session.epochs_done, description=line)

    def epoch_done(self, session: Session, record: Record) -> None:
        epochs = session.config.epochs
        self.held_out = f"  {_held_out(record)}" if record.held_out_loss is not None else ""
        kept = f"  {record.kept:.0%} of the samples" if record.kept < 1 else ""
        line = (
            f"epoch {record.epoch}/{epochs}  loss {record.train_loss:.3f}{self.held_out}{kept}  "
            f"{record.images_per_second:,.0f} samples/s  waiting {record.waiting:.0%}"
        )
        if self.bar is None and (record.epoch % math.ceil(epochs / self.lines) == 0 or record.epoch == epochs):
            self.console.print(line, soft_wrap=True)

    def end(self, session: Session) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _held_out(record: Record) -> str:
    right = "" if record.held_out_accuracy is None else f", {record.held_out_accuracy:.1%} right"
    score = "" if record.score is None or record.score == record.held_out_accuracy else f", score {record.score:.3f}"
    return f"held out {record.held_out_loss:.3f}{right}{score}"
