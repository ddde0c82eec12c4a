"""`torchweld compare`: what is said of kinds of networks, measured side by side."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress as bars
from rich.console import Console

from torchweld.cli.output import console, plain, print_json, table
from torchweld.cli.target import JsonOption
from torchweld.core import InputError, written_whole
from torchweld.data.dates import WRITTEN
from torchweld.diagnosis import SequenceComparison, compare_sequences, draw_comparison
from torchweld.models.sequence import cores
from torchweld.training.sequences import DatesConfig, DatesRun, learn_dates

_SUBJECTS = ("sequence",)
_SHOWN = ("the twenty-third of September '98", "SUN. 3 MAR. '12", "5/27/1984")


def compare(
    subject: Annotated[str, typer.Argument(help="What to compare: sequence (CNN, RNN and Transformer).")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Also write sequence.png and sequence.json there.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides weights and inputs.")] = 0,
    train: Annotated[
        bool, typer.Option("--train", help="Also teach each core to read dates, a minute or two each.")
    ] = False,
    core: Annotated[str, typer.Option("--core", help="The cores to teach, separated by commas.")] = ",".join(cores()),
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of teaching.")] = DatesConfig.steps,
    read: Annotated[list[str] | None, typer.Option("--read", help="A date for the taught cores to read.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure what is said of CNNs, RNNs and Transformers on sequences, on networks that differ in nothing else.

    Cost against length, serial steps, answers to shuffled and shifted input, reach by depth: each claim with what was
    measured and a verdict, holds / holds in part / does not hold here. A claim that does not hold is a result and no
    failure: the exit status is 0.

    \b
    $ torchweld compare sequence --out runs/compare
    $ torchweld compare sequence --train --core gru --read "the 3rd of March '12"
    """
    if subject not in _SUBJECTS:
        raise InputError(f"there is nothing to compare under {subject!r}; known are {', '.join(_SUBJECTS)}")
    names = _cores(core)
    texts = tuple(read or _SHOWN)
    WRITTEN.encode(texts)  # a character that no date has costs no minute of teaching
    if read and not train:
        raise InputError("--read needs a core that was taught to; add --train")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    say = console(quiet=json)
    with _progress("measuring", 4) as step:
        made = compare_sequences(seed, lambda doing: step(doing))
    _show(made, say)
    runs = []
    for name in names if train else ():
        with _progress(f"teaching {name}", steps) as step:
            runs.append(
                learn_dates(DatesConfig(core=name, steps=steps, seed=seed), lambda _, loss: step(f"{loss:.4f}"))
            )
    if runs:
        say.print(_taught(runs), "")
        for text in texts:
            said = ", ".join(f"{run.config.core} {run.read(text)[0]}" for run in runs)
            say.print(f"{text!r}: {said}", soft_wrap=True)
    content = {**made.to_dict(), "taught": [_run_dict(run, texts) for run in runs]}
    files = [] if out is None else _write(out, made, content)
    if json:
        print_json({**content, "files": files})
    elif files:
        say.print("\nwritten", *files, sep="\n  ", soft_wrap=True)


def _cores(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in cores():
            raise InputError(f"--core {name}: there is no such core; known are {', '.join(cores())}")
    if not names:
        raise InputError(f"--core names no core; known are {', '.join(cores())}")
    return names


def _show(made: SequenceComparison, say: Console) -> None:
    rows = [(f.about, f.core, f.claim, f.measured, f.verdict) for f in made.findings]
    shown = table("CNN, RNN and Transformer on sequences", ("about", "core", "claim", "measured", "verdict"), rows)
    for column in shown.columns:
        column.justify = "left"
    say.print(shown, "")


def _taught(runs: list[DatesRun]) -> Any:
    rows = [
        (
            run.config.core,
            f"{sum(p.numel() for p in run.model.parameters()):,}",
            f"{run.exact:.2%}",
            f"{run.seconds:.1f}",
            f"{run.cpu_seconds:.1f}",
        )
        for run in runs
    ]
    title = f"{runs[0].config.examined} held-out dates read, after {runs[0].config.steps} steps"
    return table(title, ("core", "parameters", "exact", "seconds", "CPU seconds"), rows)


def _run_dict(run: DatesRun, texts: tuple[str, ...]) -> dict[str, Any]:
    return {**run.to_dict(), "read": dict(zip(texts, run.read(*texts), strict=True))}


def _write(out: Path, made: SequenceComparison, content: dict[str, Any]) -> list[str]:
    picture, record = out / "sequence.png", out / "sequence.json"
    draw_comparison(made, picture)
    with written_whole(record) as temporary:
        temporary.write_text(json_format.dumps(plain(content), indent=1, allow_nan=False), encoding="utf-8")
    return [str(picture), str(record)]


@contextmanager
def _progress(doing: str, total: int) -> Iterator[Any]:
    """A bar on stderr where it is a terminal, and nothing elsewhere; called with a word on each step."""
    screen = Console(stderr=True)
    columns = (bars.TextColumn(doing), bars.BarColumn(), bars.TextColumn("{task.description}"))
    with bars.Progress(
        *columns, bars.TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda word: bar.update(task, advance=1, description=word)
