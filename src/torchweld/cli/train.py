"""`torchweld train`: from a folder of data to a checkpoint, by one command."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from torchweld import data
from torchweld.cli.output import console, print_json, table
from torchweld.cli.target import JsonOption
from torchweld.core import InputError
from torchweld.data import Splits
from torchweld.training import (
    RECIPES,
    Config,
    Progress,
    Run,
    load_config,
    overridden,
    recipe,
    resume,
    splits_of,
    trackers,
)
from torchweld.training import train as train_run
from torchweld.training.overlays import draw_predictions

_BY_TASK = {"classify": "classify", "segment": "segment", "regress": "regress"}


def train(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="digits, or a path: class folders, images with masks, idx .gz files, a table. See torchweld data.",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option("--test", "--val", metavar="PATH", help="Data that are scored once, at the end."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="classify, segment or regress; guessed from the data if left out.")
    ] = None,
    recipe_name: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", help=f"{', '.join(RECIPES)}; guessed from the data if left out."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config.json of a run, or of a search.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, such as learning_rate=0.05; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The run's folder; runs/NAME-OF-DATA if left out.")
    ] = None,
    resuming: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, or begin it if there is none.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train a network on a folder of data: checkpoints, records, pictures, and an exact resume.

    The epoch is chosen on a held-out part of DATA; --test is scored once, at the end. Ctrl-C saves and says how to go
    on; the resumed run equals an uninterrupted one bit for bit. Under `torchrun -m torchweld.cli train ...` several
    processes, on one machine or many, train as one.

    \b
    $ torchweld train digits --set epochs=3 --out runs/digits
    """
    folder = out or Path("runs") / (Path(source).resolve().name if source else "run")
    leads = os.environ.get("RANK", "0") == "0"
    say = console(quiet=json or not leads)
    begun = (folder / "config.json").exists()
    if resuming and begun:
        config, splits = load_config(folder / "config.json"), None
        if settings or recipe_name or config_file:
            raise InputError(f"--resume goes on with the settings in {folder}/config.json; leave --set, --recipe and "
                             "--config out")  # fmt: skip
    elif begun:
        raise InputError(f"{folder} holds a run already; go on with it by --resume, or choose another --out")
    else:
        config, splits = asked_for(source, test, task, recipe_name, config_file, settings or [])
    watchers = [Progress(), *trackers(config.trackers, folder)] if leads else []
    say.print(f"[bold]training[/bold] {config.model} on {config.data}, {config.epochs} epochs, into {folder}")
    try:
        run = resume(folder, watchers, splits) if resuming and begun else train_run(config, folder, watchers, splits)
    except KeyboardInterrupt:
        words = f"torchweld train --out {folder} --resume"
        print(f"torchweld: saved; to go on: {words}", file=sys.stderr)
        raise
    if not leads:
        return
    pictures = _pictures(run, folder)
    if json:
        print_json(run.to_dict())
        return
    _show(run, folder, pictures, say)


def asked_for(
    source: str | None,
    test: str | None,
    task: str | None,
    recipe_name: str | None,
    config_file: Path | None,
    settings: list[str],
) -> tuple[Config, Splits]:
    """The config, and the data, which are read first where they decide the recipe."""
    if config_file is not None and recipe_name is not None:
        raise InputError("--config and --recipe both say where to begin; give one of them")
    given = {"data": source if source in (None, "digits") else str(Path(source).resolve()),
             "test": None if test is None else str(Path(test).resolve()), "task": task}  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if config_file is not None:
        start = load_config(config_file)
    elif recipe_name is not None:
        start = recipe(recipe_name)
    elif source is None:
        raise InputError("say on what to train: a path, or digits")
    elif source == "digits":
        start = recipe("digits")
    else:
        known = task or overridden(Config(), settings).task
        found = known or data.read(changes["data"], test=changes.get("test"), holdout=0.1).task
        if found not in _BY_TASK:
            raise InputError(f"--task {found!r} is unknown; known are {', '.join(_BY_TASK)}")
        start = recipe(_BY_TASK[found])
    if source is None and config_file is None and start.data != "digits":
        raise InputError("say on what to train: a path, or digits")
    config = overridden(replace(start, **changes), settings)
    return config, splits_of(config)


def _pictures(run: Run, folder: Path) -> list[str]:
    """Pictures of what the network makes of the data it has not learnt from."""
    unseen = run.splits.test or run.splits.held_out
    if run.splits.task == "regress" or not len(unseen):
        return []
    target = folder / "predictions.png"
    draw_predictions(run.model, unseen, run.splits, target)
    return [str(target)]


def _show(run: Run, folder: Path, pictures: list[str], say: object) -> None:
    rows = []
    best = run.history[run.best_epoch - 1] if run.best_epoch else None
    if best is not None and best.held_out_loss is not None:
        accuracy = "" if best.held_out_accuracy is None else f"{best.held_out_accuracy:.2%}"
        rows.append(("held out", f"{best.held_out_loss:.4f}", accuracy, _number(best.score)))
    for name, scores in (("test", run.test), ("test, one view", run.test_one_view)):
        if scores is not None:
            accuracy = "" if scores.accuracy is None else f"{scores.accuracy:.2%}"
            rows.append((f"{name} ({scores.samples:,} samples)", f"{scores.loss:.4f}", accuracy, _number(scores.score)))
    named = (
        run.test.named if run.test is not None else {"segment": "IoU", "regress": "R2"}.get(run.splits.task, "score")
    )
    machine = run.machine
    out = console()
    out.print(
        f"epoch {run.best_epoch} of {len(run.history)} chosen, {run.seconds:.0f} s, {run.parameters:,} parameters, "
        f"{machine.threads} thread{'s' * (machine.threads > 1)}, {machine.dtype}"
        f"{', channels_last' * machine.channels_last}" + (f"; ended early: {run.stopped}" if run.stopped else "")
    )
    if rows:
        out.print(table("", ("", "loss", "accuracy", named), tuple(rows)))
    names = ["model.safetensors", "result.json", "metrics.jsonl", "checkpoints/best.safetensors"]
    out.print(
        "\n[bold]written[/bold]", *(f"  {folder / name}" for name in names), *(f"  {p}" for p in pictures), sep="\n"
    )
    out.print(f"\nto weld: torchweld fuse {folder} -o welded.pt2")
    if "tensorboard" in run.config.trackers:
        out.print(f"to look: tensorboard --logdir {folder}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
