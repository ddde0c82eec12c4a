"""`torchweld search`: tunes a training config, on one machine or many, and writes the winner for `train`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchweld.cli.output import console, print_json, table
from torchweld.cli.target import JsonOption
from torchweld.cli.train import asked_for
from torchweld.core import InputError
from torchweld.training import RECIPES
from torchweld.training.folder import save_json

if TYPE_CHECKING:
    from torchweld.search import Found


def search(
    source: Annotated[
        str | None, typer.Argument(metavar="DATA", help="digits, or a path, as torchweld train takes it.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", metavar="EPOCHS", help="Epochs to spend, of all trials together.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", metavar="N", help="Trials at most.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Begin no trial after so many minutes of this command.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option("--test", "--val", metavar="PATH", help="Data for the winner's own run; no trial sees them."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="classify, segment or regress; guessed from the data if left out.")
    ] = None,
    recipe_name: Annotated[str | None, typer.Option("--recipe", metavar="NAME", help=f"{', '.join(RECIPES)}.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config to search around.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting that stays as given, such as epochs=8; repeatable."),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", metavar="KEY=...", help="A setting to search: low:high[:log], or a,b,c; repeatable."),
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Search what --space says, and nothing besides.")] = False,
    sampler: Annotated[str, typer.Option("--sampler", help="ga (genetic), tpe or random.")] = "ga",
    population: Annotated[int, typer.Option("--population", help="Individuals of a generation.")] = 8,
    prune: Annotated[bool, typer.Option(help="End poor trials early, by successive halving.")] = True,
    on_failure: Annotated[
        str, typer.Option("--on-failure", help="A run that fails: penalise ranks it last, raise ends the search.")
    ] = "penalise",
    seed: Annotated[int, typer.Option("--seed", help="Of the search; that of the training is --set seed=N.")] = 0,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", metavar="URL", help="postgresql://USER@HOST/DB for many machines; else SQLite in OUT."
        ),
    ] = None,
    study: Annotated[str, typer.Option("--study", metavar="NAME", help="The study's name in the storage.")] = "search",
    heartbeat: Annotated[
        int, typer.Option("--heartbeat", metavar="SECONDS", help="Of a running trial; silent twice as long is dead.")
    ] = 15,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the results are written.")] = Path(
        "runs/search"
    ),
    json: JsonOption = False,
) -> None:
    """Search the settings of a training run: rate, warm-up, weight decay, dropout, size, block, augmentation.

    The same command goes on where it was stopped; with a PostgreSQL URL, given on many machines, all work on one study.
    OUT/winner.json is the best config, for torchweld train --config.

    \b
    $ torchweld search digits --budget 96 --set epochs=8 --set model=branched_nano
    $ torchweld train --config runs/search/winner.json
    """
    try:
        from torchweld import search as searching
    except ImportError as error:
        raise InputError(f"search needs optuna ({error}): pip install 'torchweld[search]'") from None
    limits = searching.Budget(budget, trials, minutes)
    genes = searching.parsed(space or [])
    if only and not genes:
        raise InputError("--only searches what --space says; give --space")
    config, splits = asked_for(source, test, task, recipe_name, config_file, settings or [])
    fixed = [setting.partition("=")[0].strip() for setting in settings or []]
    place = searching.Space(genes) if only else searching.space_for(config, splits, genes, fixed)
    url = storage or f"sqlite:///{_folder(out)}/study.db"
    say = console(quiet=json)
    say.print(
        f"[bold]searching[/bold] {len(place.names)} settings of {config.model} on {config.data} by {sampler}, "
        f"{config.epochs} epochs a trial, study {study} in {searching.shown(url)}"
    )
    try:
        found = searching.search(
            config,
            limits,
            space=place,
            splits=splits,
            sampler=sampler,
            population=population,
            prune=prune,
            seed=seed,
            storage=url,
            name=study,
            heartbeat_seconds=heartbeat,
            on_failure=on_failure,
            told=lambda study, trial: say.print(searching.line(study, trial, limits), markup=False),
        )
    except KeyboardInterrupt:
        print(
            f"torchweld: saved as study {study} in {searching.shown(url)}; to go on, give the same command again",
            file=sys.stderr,
        )
        raise
    files = _written(found, replace(found.config, trackers=config.trackers), out)
    if json:
        print_json({**found.to_dict(), "files": files})
        return
    _show(found, files, out, say)


def _folder(out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    return out.resolve()


def _written(found: Found, winner: Any, out: Path) -> list[str]:
    from torchweld.search import draw_history, draw_importance

    save_json(out / "winner.json", winner.to_dict())
    save_json(out / "search.json", found.to_dict())
    draw_history(found, out / "history.png")
    names = ["winner.json", "search.json", "history.png"]
    if found.importance:
        draw_importance(found, out / "importance.png")
        names.append("importance.png")
    return [str(out / name) for name in names]


def _show(found: Found, files: list[str], out: Path, say: Any) -> None:
    counts = ", ".join(f"{found.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    say.print(
        f"\n{found.epochs} epochs in {len(found.trials)} trials: {counts}"
        + (f"; {found.lost_epochs} more were lost with dead workers and trained again" if found.lost_epochs else "")
    )
    rows = tuple(
        (name, _word(value), f"{found.importance[name]:.2f}" if found.importance else "")
        for name, value in sorted(found.best.values.items(), key=lambda item: -found.importance.get(item[0], 0.0))
    )
    say.print(
        f"[bold]the winner[/bold], trial {found.best.number}: held-out score {found.best.score:.4f}, "
        f"loss {found.best.loss:.4f}"
    )
    say.print(table("", ("setting", "value", "importance"), rows))
    failed = [trial for trial in found.trials if trial.failure is not None]
    if failed:
        say.print(f"failed, trial {failed[-1].number}: {failed[-1].failure}", markup=False)
    say.print("\n[bold]written[/bold]", *(f"  {name}" for name in files), sep="\n")
    say.print(f"\nto train it: torchweld train --config {out / 'winner.json'} --out {out / 'winner'}")


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
