"""`torchweld convert`: a pickled state_dict as safetensors, without running what may hide in the pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from safetensors.torch import save_file

from torchweld.cli.output import console, print_json
from torchweld.cli.target import JsonOption
from torchweld.core import InputError, written_whole
from torchweld.deploy import read_state


def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A state_dict in a .pt, .pth, .bin or .ckpt file.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; FILE.safetensors if left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there already.")] = False,
    json: JsonOption = False,
) -> None:
    """Turn a pickled state_dict into .safetensors, a format that cannot execute code.

    The pickle is read by torch's weights-only reader, which admits tensors and plain containers. A whole pickled model
    is refused: reading one imports and runs whatever the file names, and it is bound to the class and path it was saved
    from. Load it where you trust it and save model.state_dict().

    \b
    $ torchweld convert old.pt --out new.safetensors
    """
    target = out or source.with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        raise InputError(f"--out {target}: the file must end in .safetensors")
    if target.exists() and not force:
        raise InputError(f"{target} exists already; choose another --out, or write over it with --force")
    state = {name: value.detach().cpu().contiguous().clone() for name, value in read_state(source).items()}
    with written_whole(target) as temporary:
        save_file(state, temporary, {"format": "pt"})
    values = sum(value.numel() for value in state.values())
    if json:
        print_json({"file": str(target), "tensors": len(state), "values": values})
    else:
        console().print(f"{len(state)} tensors, {values:,} numbers, written to {target}")
