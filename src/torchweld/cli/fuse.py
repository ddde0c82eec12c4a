"""`torchweld fuse`: weld a model, show the certificate, write the `.pt2`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from torchweld.cli.output import console, print_json
from torchweld.cli.quiet import quiet
from torchweld.cli.tables import counts_table
from torchweld.cli.target import InputOption, JsonOption, TargetArgument, TrustOption, WeightsOption, read_target
from torchweld.core import InputError
from torchweld.fusion import explain as explained
from torchweld.fusion import fuse as weld


def fuse(
    target: TargetArgument,
    inputs: InputOption,
    weights: WeightsOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE.pt2", help="Write the welded model.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="List each weld and each refusal, by module.")] = False,
    trust: TrustOption = False,
    json: JsonOption = False,
) -> None:
    """Weld a model: the same function in fewer operations, with a certificate.

    \b
    $ torchweld fuse net:build --input 1x3x224x224 --weights net.safetensors -o net.pt2
    """
    if out is not None:
        _check_output(out)
    model, examples = read_target(target, inputs, weights, trust)
    with quiet():
        fused = weld(model, examples)
        if out is not None:
            fused.save(out)
    report = fused.report
    if json:
        print_json({"target": target, **report.to_dict(), "written": str(out) if out else None})
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
    if out is not None:
        say.print(f"written {out}", markup=False, soft_wrap=True)


def _check_output(out: Path) -> None:
    if out.suffix != ".pt2":
        raise InputError(f"-o {out}: a welded model is written as .pt2; name it {out.with_suffix('.pt2').name}")
    if out.is_dir():
        raise InputError(f"-o {out}: there is a folder of that name; choose another")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise InputError(f"-o {out}: nothing can be written in {folder}; choose another folder")
