"""A bar in the terminal while a run goes on; a log that is no terminal gets a line every tenth of the way instead."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from torchweld.genetic.state import State


class ProgressBar:
    """A callback of `ga`, used as a context: `with ProgressBar(100) as bar: ga(..., callbacks=[bar])`.

    >>> with ProgressBar(2, Console(file=None, force_terminal=False, quiet=True)) as bar:
    ...     callable(bar)
    True
    """

    def __init__(self, generations: int | None = None, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.generations = generations
        self.bar = Progress(
            TextColumn("generation"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=generations)

    def __enter__(self) -> ProgressBar:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, state: State) -> None:
        _, best, mean, _, evaluations = state.trace[-1].tolist()
        told = f"best {best:.6g} mean {mean:.6g} after {evaluations:.0f} evaluations"
        if self.console.is_terminal:
            self.bar.update(self.task, completed=state.generation, description=told)
        elif state.generation % max(1, (self.generations or 100) // 10) == 0:
            self.console.print(f"generation {state.generation}: {told}", highlight=False)
