"""`torchweld calibrate`: this machine's own constants for the planner."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from torchweld.cli.output import console, print_json, table
from torchweld.cli.quiet import waiting
from torchweld.cli.target import JsonOption
from torchweld.core import InputError
from torchweld.fusion import calibrate_machine, remember_machine, shipped_machine

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


def calibrate(
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", metavar="NAME", help="May be repeated; float32 and bfloat16 if left.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="By default as many as torch takes.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, help="Time to spend on each dtype.")] = 2.0,
    json: JsonOption = False,
) -> None:
    """Measure how fast this machine multiplies, convolves and moves memory, and store it for the planner of `fuse`.

    \b
    $ torchweld calibrate --dtype float32 --threads 1
    """
    names = dtype or ["float32", "bfloat16"]
    for name in names:
        if name not in _DTYPES:
            raise InputError(f"there is no dtype {name!r} to calibrate; known are {', '.join(_DTYPES)}")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"there is no device {device!r} here; give --device cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    found = {}
    for name in names:
        with waiting(f"calibrating {name}"):
            found[name] = calibrate_machine(device, _DTYPES[name], seconds=seconds)
        path = remember_machine(device, _DTYPES[name], found[name])
    if json:
        constants = {name: machine.to_dict() for name, machine in found.items()}
        print_json({"device": device, "threads": torch.get_num_threads(), "file": str(path), "constants": constants})
        return
    shipped = shipped_machine(device).to_dict()
    rows = [
        (label, *(f"{m.to_dict()[key] * factor:,.1f}" for m in found.values()), f"{shipped[key] * factor:,.1f}")
        for key, (label, factor) in _ROWS.items()
    ]
    say = console()
    title = f"{device}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    say.print(table(title, ("", *found, "as shipped"), rows))
    say.print(f"stored in {path}", markup=False, soft_wrap=True)


_ROWS = {
    "linear_flops_per_second": ("linear, GFLOP/s", 1e-9),
    "conv_flops_per_second": ("convolution, GFLOP/s", 1e-9),
    "depthwise_flops_per_second": ("depthwise, GFLOP/s", 1e-9),
    "bytes_per_second": ("memory, GB/s", 1e-9),
    "launch_seconds": ("a call, us", 1e6),
}
