"""`torchweld demo`: the whole way on real digits, in about half a minute."""

from __future__ import annotations

import json as json_format
import platform
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from torchweld.cli.output import console, plain, print_json
from torchweld.cli.quiet import quiet, waiting
from torchweld.cli.tables import bench_table, counts_table, stage_table
from torchweld.cli.target import JsonOption
from torchweld.core import CheckFailed, written_whole
from torchweld.deploy import bench, save_weights, time_stages
from torchweld.fusion import fuse
from torchweld.report import drawn, write_page
from torchweld.training import Progress, evaluate, recipe, train

_LEAST_ACCURACY = 0.97
_BATCH = 64


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to write the results.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides weights, held-out digits and order.")] = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs to train, if not the recipe's.")] = None,
    json: JsonOption = False,
) -> None:
    """Train a branched network on real digits, weld it, prove it equal, time it.

    Fails (status 1) if less than 97% of the held-out digits are right, before or after welding.

    \b
    $ torchweld demo --out runs/demo
    """
    out.mkdir(parents=True, exist_ok=True)  # before the work, so that a folder that cannot be made costs none
    say = console(quiet=json)
    config = recipe("digits")
    config = replace(config, seed=seed, epochs=epochs or config.epochs)

    with waiting("timing one residual block in three stages"):
        stages = time_stages()
    say.print(stage_table(stages), "")

    say.print(f"[bold]training[/bold] {config.model} on scikit-learn's digits, {config.epochs} epochs")
    run = train(config, watchers=[Progress()])
    trained = evaluate(run.model, run.splits.held_out, run.splits).score
    say.print(f"{trained:.1%} of the held-out digits right, after {run.seconds:.1f} s\n")

    held_out = run.splits.held_out
    images = run.splits.scale.normalised(torch.from_numpy(held_out.inputs[:_BATCH]))
    with quiet("welding"):
        fused = fuse(run.model, images)
    accuracy = evaluate(fused.module, held_out, run.splits).score
    certificate = fused.report.certificate
    say.print(counts_table(fused.report))
    say.print(
        f"\n[bold]certificate[/bold]  float64 {certificate.twin_error:.1e} (bound {certificate.twin_bound:.0e}), "
        f"{certificate.dtype} {certificate.fused_error:.1e} (the original's own {certificate.native_error:.1e})\n"
        f"{accuracy:.1%} of the held-out digits right after welding\n"
    )
    with waiting("timing native against fused"):
        timed = bench(run.model, images, fused=fused, budget_seconds=2.0)
    say.print(bench_table(timed))

    content = {
        "title": "torchweld demo",
        "subtitle": "A branched residual network, trained on handwritten digits, welded, proven equal, timed.",
        "command": f"torchweld demo --seed {seed} --epochs {config.epochs}",
        "training": run.to_dict(),
        "fused_held_out_accuracy": accuracy,
        "stages": stages.to_dict(),
        "fusion": fused.report.to_dict(),
        "graphs": {
            "before": drawn(fused.captured).to_dict(),
            "after": drawn(fused.module.graph, fused.module, fused.report.rewrites).to_dict(),
        },
        "benchmark": timed.to_dict(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()},
    }
    with quiet("writing"):
        files = _write(out, content, run.model, fused)
    if json:
        print_json({**content, "files": files})
    else:
        say.print("\n[bold]written[/bold]", *(f"  {file}" for file in files), sep="\n")
    for form, share in (("", trained), (" after welding", accuracy)):
        if share < _LEAST_ACCURACY:
            raise CheckFailed(
                f"only {share:.1%} of the held-out digits are right{form}; {_LEAST_ACCURACY:.0%} are asked for"
            )


def _write(out: Path, content: dict[str, Any], model: torch.nn.Module, fused: Any) -> list[str]:
    weights, program, report, page = (
        out / name for name in ("weights.safetensors", "fused.pt2", "report.json", "report.html")
    )
    save_weights(model, weights)
    fused.save(program)
    with written_whole(report) as temporary:
        temporary.write_text(json_format.dumps(plain(content), indent=1, allow_nan=False), encoding="utf-8")
    write_page(content, page)
    return [str(file) for file in (weights, program, report, page)]
