"""`torchweld data inspect`: what a data set holds, what is wrong with it, and a picture of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from torchweld import data as datasets
from torchweld import models as networks
from torchweld.cli.output import console, print_json, table
from torchweld.cli.target import JsonOption
from torchweld.core import InputError

_MOST_CLASSES, _MOST_LISTED, _STEP_BATCH = 30, 10, 64


def data(
    action: Annotated[str, typer.Argument(metavar="inspect", help="What to do; there is one thing yet.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Folder or table; or digits, which is built in.")],
    test: Annotated[str, typer.Option("--test", metavar="PATH", help="A test part that lies elsewhere.")] = "",
    task: Annotated[str, typer.Option("--task", help="classify, segment or regress; guessed if not given.")] = "",
    image_size: Annotated[
        str, typer.Option("--image-size", metavar="H[xW]", help="Size of all images; by default the most frequent.")
    ] = "",
    channels: Annotated[
        int | None, typer.Option("--channels", help="1, 3 or 4; by default 3 if any has colour.")
    ] = None,
    holdout: Annotated[float, typer.Option("--holdout", help="Share of the training part that is held out.")] = 0.1,
    holdout_by: Annotated[
        str, typer.Option("--holdout-by", metavar="REGEX", help="Hold out together what has the same in its name.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides what is held out, and drawn.")] = 0,
    cache: Annotated[Path | None, typer.Option("--cache", metavar="FOLDER", help="Where decoded images go.")] = None,
    grid: Annotated[Path | None, typer.Option("--grid", metavar="FILE.png", help="Write a picture of samples.")] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Measure what a training step of this network holds too.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Look at a data set before a network does: classes, sizes, scale, duplicates, memory, and all that is wrong.

    PATH: a folder with one folder a class; images NAME.* with masks NAME_mask.png, together or in images/ and masks/;
    train/ and test/ (or val/) of these; idx files (MNIST and its family); a table whose last column is the target.
    Status 2, with every problem listed, if the data cannot be used as they are.

    \b
    $ torchweld data inspect digits --grid digits.png
    """
    if action != "inspect":
        raise InputError(f"data {action}: there is only data inspect; write torchweld data inspect {path}")
    try:
        splits = datasets.read(
            path,
            test=test or None,
            task=task or None,
            image_size=_size(image_size),
            channels=channels,
            holdout=holdout,
            holdout_by=holdout_by or None,
            seed=seed,
            cache=cache,
        )
    except datasets.BadData as error:
        count = len(error.problems)
        if json:
            print_json({"source": path, "problems": [problem.to_dict() for problem in error.problems]})
        else:
            for problem in error.problems:
                console().print(str(problem), soft_wrap=True, markup=False)
        raise InputError(
            f"{path} has {count} problem{'s' * (count > 1)}, listed above; mend, then look again"
        ) from error
    seen = datasets.inspect(splits)
    if grid is not None:
        datasets.write_grid(splits, grid, seed=seed)
    footprint = _footprint(splits, model) if model else None
    if json:
        written = None if grid is None else str(grid)
        step = None if footprint is None else footprint.to_dict()
        print_json({**seen.to_dict(), "problems": [], "grid": written, "footprint": step})
        return
    _show(splits, seen)
    if footprint is not None:
        parts = (f"{name.replace('_', ' ')} {_size_of(count)}" for name, count in footprint.to_dict().items())
        console().print(
            f"a step      {model}, batches of {min(_STEP_BATCH, len(splits.train))}, Adam: {', '.join(parts)}",
            soft_wrap=True,
        )
    if grid is not None:
        console().print(f"\n[bold]written[/bold] {grid}", soft_wrap=True)


def _show(splits: datasets.Splits, seen: datasets.Inspection) -> None:
    say = console()
    facts = seen.facts
    parts = [name for name, count in facts["samples"].items() if count]
    shape = "x".join(map(str, facts["input_shape"]))
    counted = "  ".join(f"{name} {facts['samples'][name]:,}" for name in parts)
    say.print(f"[bold]{splits.source}[/bold]  task {splits.task}  samples of {shape}  {counted}\n", soft_wrap=True)
    if splits.classes:
        unit = "pixels" if splits.task == "segment" else "samples"
        rows = [
            (
                name,
                *(f"{seen.counts[p][i]:,}" for p in parts),
                f"{seen.counts['train'][i] / sum(seen.counts['train']):.1%}",
            )
            for i, name in list(enumerate(splits.classes))[:_MOST_CLASSES]
        ]
        heading = "mask value" if splits.task == "segment" else "class"
        say.print(table(f"{unit} by class", (heading, *parts, "of train"), rows))
        if len(splits.classes) > _MOST_CLASSES:
            say.print(f"and {len(splits.classes) - _MOST_CLASSES} classes more")
        say.print(f"\nimbalance   {seen.imbalance:.2f} (largest class of train over its smallest)")
    if splits.mask_values is not None:
        mapping = ", ".join(f"{value} -> {number}" for value, number in splits.mask_values.items())
        say.print(f"masks       values to classes: {mapping}", soft_wrap=True)
    if seen.sizes:
        files = f"{_few(seen.sizes)}; pixels {_few(seen.modes)}"
        fitted = f"; all become {'x'.join(map(str, facts['input_shape'][1:]))}" if len(seen.sizes) > 1 else ""
        say.print(f"files       {files}{fitted}", soft_wrap=True)
    if splits.columns:
        rows = [
            (name, f"{mean:.6g}", f"{std:.6g}")
            for name, mean, std in zip(splits.columns, splits.mean, splits.std, strict=True)
        ]
        targets = zip(splits.scale.target_mean, splits.scale.target_std, strict=True)
        rows += [("target", f"{mean:.6g}", f"{std:.6g}") for mean, std in targets]
        say.print(table("columns of train", ("column", "mean", "std"), rows))
    else:
        figures = ["  ".join(f"{value:.4f}" for value in values) for values in (splits.mean, splits.std)]
        say.print(f"scale       mean {figures[0]}; std {figures[1]} (train, by channel, of 0..1)", soft_wrap=True)
    if seen.constant:
        say.print(f"constant    {', '.join(seen.constant)}: never changes, so it teaches nothing", soft_wrap=True)
    say.print(f"duplicates  {_duplicates(seen.across)} across parts, {_duplicates(seen.within)} inside train")
    for pair in (*seen.across, *(pair for pair in seen.within if pair.conflict))[:_MOST_LISTED]:
        note = ", with another target" if pair.conflict else ""
        say.print(f"            {pair.first} = {pair.second}{note}", soft_wrap=True)
    stored, floats = _size_of(seen.stored_bytes), _size_of(seen.float_bytes)
    as_floats = f"; inputs as float32 would be {floats}" if splits.train.inputs.ndim == 4 else ""
    say.print(f"memory      {stored} as they are kept{as_floats}")


def _footprint(splits: datasets.Splits, name: str) -> datasets.Footprint:
    if splits.train.inputs.ndim != 4:
        raise InputError(f"--model {name} reads images, and {splits.source} is a table; leave it out")
    some = splits.train.part(np.arange(min(_STEP_BATCH, len(splits.train))))
    batch = datasets.Batches(some, splits, _STEP_BATCH, shuffle=False).batch(0, 0)
    network = networks.create(name, len(splits.classes), splits.train.inputs.shape[1])
    return datasets.footprint(network, batch.inputs, torch.optim.Adam)


def _duplicates(pairs: tuple[datasets.Duplicate, ...]) -> str:
    conflicts = sum(pair.conflict for pair in pairs)
    return f"{len(pairs):,}" + (f" ({conflicts:,} with another target)" if conflicts else "")


def _size_of(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"


def _few(counts: object, most: int = 5) -> str:
    items = list(dict(counts).items())  # type: ignore[call-overload]
    shown = ", ".join(f"{name} ({count:,})" for name, count in items[:most])
    return shown + (f", and {len(items) - most} more" if len(items) > most else "")


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise InputError(f"--image-size {text}: write a side, such as 64, or HxW, such as 64x96")
    return sides[0], sides[-1]
