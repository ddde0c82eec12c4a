"""`torchweld models`: the networks by name, and the shape walk of one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from torchweld import models as networks
from torchweld.cli.output import console, print_json, table
from torchweld.cli.target import JsonOption
from torchweld.core import InputError


def models(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A network; without one, all are listed.")] = "",
    input_shape: Annotated[
        str, typer.Option("--input", metavar="BxCxHxW", help="Shape of the input to walk through the network.")
    ] = "",
    classes: Annotated[int, typer.Option("--classes", min=1, help="Classes of the output.")] = 10,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, help="List modules so deep only; 1 is the network's own parts.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the networks, or show what each layer of one makes of an input: shape, parameters, FLOPs, memory.

    \b
    $ torchweld models lenet_bn --input 1x1x28x28 --depth 1
    """
    if not name:
        if input_shape:
            raise InputError("--input without a NAME; write torchweld models NAME --input SHAPE")
        if json:
            print_json({"models": list(networks.names())})
        else:
            print("\n".join(networks.names()))
        return
    shape = _shape(input_shape)
    made = networks.walk(networks.create(name, classes, shape[1]), shape, depth)
    if json:
        print_json({"model": name, "classes": classes, **made.to_dict()})
        return
    rows = [
        (
            step.name,
            step.kind,
            "x".join(map(str, step.output)),
            f"{step.parameters:,}",
            f"{step.flops:,}",
            f"{step.output_bytes / 1024:,.1f}",
        )
        for step in made.steps
    ]
    head = ("layer", "kind", "output", "parameters", "FLOPs", "output KiB")
    say = console()
    say.print(table(f"{name}  {'x'.join(map(str, shape))}", head, rows))
    say.print(
        f"\n{made.parameters:,} parameters, {made.flops:,} FLOPs, weights {made.parameter_bytes / 2**20:,.1f} MiB, "
        f"activations {made.activation_bytes / 2**20:,.1f} MiB"
    )


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) for size in (text or "1x3x224x224").lower().split("x"))
    except ValueError:
        raise InputError(f"--input {text}: not a shape; write sizes with x between, such as 1x1x96x96") from None
    if len(shape) != 4 or min(shape) < 1:
        raise InputError(f"--input {text}: an image network reads BxCxHxW, all 1 or more, such as 1x1x96x96")
    return shape
