"""Objects that watch a run. Anything with these three methods can: records, checkpoints, progress."""

from __future__ import annotations

import math
from typing import Protocol

from rich import progress as bars
from rich.console import Console

from torchweld.training.config import Config
from torchweld.training.records import Record


class Watcher(Protocol):
    """Called by the loop: once before the first epoch, after each, and once when it ends, by an error too."""

    def begin(self, config: Config) -> None: ...
    def epoch_done(self, record: Record) -> None: ...
    def end(self) -> None: ...


class Progress:
    """A bar on stderr where it is a terminal; elsewhere about `lines` lines, so that logs stay short."""

    def __init__(self, console: Console | None = None, lines: int = 6) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.lines = lines
        self.epochs = 0
        self.bar: bars.Progress | None = None
        self.task = bars.TaskID(0)

    def begin(self, config: Config) -> None:
        self.epochs = config.epochs
        if not self.console.is_terminal:
            return
        columns = (bars.TextColumn("training"), bars.BarColumn(), bars.TextColumn("{task.description}"))
        self.bar = bars.Progress(*columns, bars.TimeRemainingColumn(), console=self.console, transient=True)
        self.task = self.bar.add_task(f"epoch 0/{config.epochs}", total=config.epochs)
        self.bar.start()

    def epoch_done(self, record: Record) -> None:
        line = (
            f"epoch {record.epoch}/{self.epochs}  loss {record.train_loss:.3f}  "
            f"held out {record.test_loss:.3f}, {record.test_accuracy:.1%} right"
        )
        if self.bar is not None:
            self.bar.update(self.task, advance=1, description=line)
        elif record.epoch % math.ceil(self.epochs / self.lines) == 0 or record.epoch == self.epochs:
            self.console.print(line, soft_wrap=True)

    def end(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
