"""`torchweld fuse`: weld a model, show the certificate, write the `.pt2`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from torchweld.cli.output import console, print_json
from torchweld.cli.quiet import quiet
from torchweld.cli.tables import counts_table
from torchweld.cli.target import (
    InputOption,
    JsonOption,
    OneViewOption,
    TargetArgument,
    TrustOption,
    WeightsOption,
    read_target,
)
from torchweld.core import InputError
from torchweld.fusion import Fused, PartlyFused
from torchweld.fusion import explain as explained
from torchweld.fusion import fuse as weld
from torchweld.report import drawn, write_page


def fuse(
    target: TargetArgument,
    inputs: InputOption = None,
    weights: WeightsOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE.pt2", help="Write the welded model.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="List each weld and each refusal, by module.")] = False,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write a page that shows the graph before and after."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Weld the largest submodules where the whole cannot be captured.")
    ] = False,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Modules that may be welded, such as 'backbone*'.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Modules that must stay as they are, such as '*.head'.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time maps and whole plans on this machine instead of estimating them.")
    ] = False,
    trust: TrustOption = False,
    one_view: OneViewOption = False,
    json: JsonOption = False,
) -> None:
    """Weld a model: the same function in fewer operations, with a certificate.

    \b
    $ torchweld fuse net:build --input 1x3x224x224 --weights net.safetensors -o net.pt2
    """
    for name, path, suffix in (("-o", out, ".pt2"), ("--report", page, ".html")):
        if path is not None:
            _check_output(name, path, suffix)
    model, examples = read_target(target, inputs, weights, trust, one_view)
    with quiet(f"welding {target}"):
        if partial or include or exclude:
            fused = weld(
                model, examples, measure=measure, partial=True, include=include or ("*",), exclude=exclude or ()
            )
        else:
            fused = weld(model, examples, measure=measure)
        if out is not None:
            fused.save(out)
    if page is not None:
        if isinstance(fused, PartlyFused):
            raise InputError(f"--report {page}: a model welded in part has no graph of the whole to show; leave it out")
        _write_page(page, target, fused)
    report = fused.report
    written = [str(path) for path in (out, page) if path is not None]
    if json:
        print_json({"target": target, **report.to_dict(), "written": written})
        return
    say = console()
    if explain:
        say.print(explained(report), markup=False, soft_wrap=True)
    else:
        say.print(counts_table(report))
        c = report.certificate
        say.print(
            f"\ncertificate  float64 {c.twin_error:.1e} (bound {c.twin_bound:.0e}), {c.dtype} {c.fused_error:.1e} "
            f"(the original's own {c.native_error:.1e})\n             at {'; '.join(k.shapes for k in c.checks)}",
            soft_wrap=True,
        )
        say.print(f"{len(report.rewrites)} welds, {len(report.refusals)} declined; --explain lists them")
        for note in report.notes:
            say.print(f"note: {note}", markup=False, soft_wrap=True)
    for file in written:
        say.print(f"written {file}", markup=False, soft_wrap=True)


def _write_page(page: Path, target: str, fused: Fused) -> None:
    content = {
        "title": f"{target}, welded",
        "fusion": fused.report.to_dict(),
        "graphs": {
            "before": drawn(fused.captured).to_dict(),
            "after": drawn(fused.module.graph, fused.module, fused.report.rewrites).to_dict(),
        },
    }
    write_page(content, page)


def _check_output(name: str, path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise InputError(f"{name} {path}: this is written as {suffix}; name it {path.with_suffix(suffix).name}")
    if path.is_dir():
        raise InputError(f"{name} {path}: there is a folder of that name; choose another")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise InputError(f"{name} {path}: nothing can be written in {folder}; choose another folder")
