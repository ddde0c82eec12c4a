"""`torchweld bench`: native against fused, engine by engine."""

from __future__ import annotations

from typing import Annotated

import typer

from torchweld.cli.output import console, print_json
from torchweld.cli.quiet import quiet, waiting
from torchweld.cli.tables import bench_table
from torchweld.cli.target import (
    InputOption,
    JsonOption,
    OneViewOption,
    TargetArgument,
    TrustOption,
    WeightsOption,
    read_target,
)
from torchweld.deploy import ENGINES
from torchweld.deploy import bench as run_bench
from torchweld.fusion import fuse


def bench(
    target: TargetArgument,
    inputs: InputOption = None,
    weights: WeightsOption = None,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", metavar="NAME", help=f"One of {', '.join(ENGINES)}; may be repeated."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads to use; by default the faster of one and all.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Time to spend on each engine.")] = 3.0,
    trust: TrustOption = False,
    one_view: OneViewOption = False,
    json: JsonOption = False,
) -> None:
    """Time a model against its welded form, in turns in one process.

    \b
    $ torchweld bench net:build --input 1x3x224x224
    """
    model, examples = read_target(target, inputs, weights, trust, one_view)
    with quiet(f"welding {target}"):
        fused = fuse(model, examples)
    with waiting("timing native against fused"):
        engines = engine or tuple(ENGINES)
        result = run_bench(model, examples, engines, fused=fused, threads=threads, budget_seconds=seconds)
    if json:
        print_json({"target": target, **result.to_dict()})
        return
    say = console()
    say.print(bench_table(result))
    for skip in result.skipped:
        say.print(f"{skip.engine}: not timed, {skip.reason}", markup=False)
