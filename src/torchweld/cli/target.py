"""What `fuse`, `bench` and their like work on: a model and example inputs, named on the command line.

TARGET is the folder of a finished run of `torchweld train`, or `module:callable`, looked up with the current folder on
Python's path; the callable builds the model, and is called without arguments. A builder returns a model in training
mode, so it is put into eval mode here.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from torchweld.cli.quiet import quiet
from torchweld.core import InputError
from torchweld.deploy import load_weights, read_program
from torchweld.training import load_run

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="The folder of a run of torchweld train; or module:callable, where the callable builds the model (the "
        "current folder is searched first, and .eval() is called on the result); or a .pt2 file with --trust.",
    ),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE[:DTYPE]",
        help="Shape of an example input, such as 1x3x224x224 or 1x128:int64; once for each positional argument. A run "
        "has its own.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights", metavar="FILE", help="Weights to load first: .safetensors, or a state_dict in .pt, .pth."
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Read a .pt2 as TARGET, although reading one can execute code hidden in it.")
]
OneViewOption = Annotated[
    bool, typer.Option("--one-view", help="Leave out a run's averaging over `views`: less exact, as many times faster.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_MOST_ELEMENTS = 2**32


def read_target(
    target: str, inputs: list[str] | None, weights: Path | None, trust: bool, one_view: bool = False
) -> tuple[nn.Module, tuple[Any, ...]]:
    """The model, in eval mode and with its weights, and its inputs. Raises `InputError` for what cannot be used."""
    examples = tuple(example_input(text) for text in inputs or ())  # first, since it costs nothing
    if Path(target).is_dir():
        if weights is not None:
            raise InputError(f"{target} is a run, which holds its own weights; leave out --weights")
        with quiet(f"reading {target}"):
            trained, example = load_run(target, one_view)
        return trained, examples or (example,)
    if one_view:
        raise InputError(f"--one-view: only a run averages over views, and {target} is none; leave it out")
    program = target.endswith(".pt2")
    parts = ("", "") if program else _parts(target)
    if not examples:
        raise InputError("--input is missing: give the shape of an example input, such as --input 1x3x224x224")
    if program:
        if weights is not None:
            raise InputError(f"{target} holds its own weights; leave out --weights")
        with quiet(f"reading {target}"):
            return read_program(target, trust), examples
    model = _build(target, *parts)
    model.eval()
    if weights is not None:
        with quiet(f"reading {weights}"):
            load_weights(model, weights)
    return model, examples


def example_input(text: str) -> Tensor:
    """A random tensor for a shape and dtype, the same on every call: normal numbers, or integers 0 and 1.

    >>> example_input("2x3:bfloat16").shape, example_input("4:int64").dtype
    (torch.Size([2, 3]), torch.int64)
    """
    shape_text, colon, name = text.partition(":")
    if colon and name not in _DTYPES:
        raise InputError(f"--input {text}: there is no dtype {name!r}; known are {', '.join(_DTYPES)}")
    try:
        shape = [int(size) for size in shape_text.lower().split("x")]
    except ValueError:
        raise InputError(f"--input {text}: not a shape; write sizes with x between, such as 1x3x224x224") from None
    if any(size < 1 for size in shape):
        raise InputError(f"--input {text}: every size must be at least 1")
    if torch.Size(shape).numel() > _MOST_ELEMENTS:
        raise InputError(f"--input {text}: more than {_MOST_ELEMENTS:,} numbers; give a smaller example")
    dtype = _DTYPES[name] if colon else torch.float32
    generator = torch.Generator().manual_seed(0)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def _parts(target: str) -> tuple[str, str]:
    """The module and the callable that `module:callable` names."""
    module_name, colon, path = target.partition(":")
    if not (colon and module_name and path):
        raise InputError(
            f"TARGET {target!r} is neither a folder, nor module:callable, nor a .pt2 file; write for example net:build"
        )
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise InputError(f"TARGET {target!r} names a file; name the module instead: {dotted}:{path}")
    return module_name, path


def _build(target: str, module_name: str, path: str) -> nn.Module:
    # Whatever the user's code prints must not end up between the lines of our own result.
    with contextlib.redirect_stdout(sys.stderr):
        found = _attribute(_module(module_name), path, target)
        if isinstance(found, nn.Module):
            return found
        if not callable(found):
            raise InputError(
                f"TARGET {target!r} is no callable but of type {type(found).__name__}; name one that builds the model"
            )
        try:
            model = found()
        except (Exception, SystemExit) as error:
            hint = "it must build the model when called without arguments"
            raise InputError(f"{target} raised {_said(error)}; {hint}") from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{target} returned something of type {type(model).__name__}; it must return a torch.nn.Module"
        )
    return model


def _module(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no module {error.name!r} here or installed; check TARGET's name and folder"
            ) from error
        raise InputError(f"module {name!r} needs {error.name!r}, which is not installed; install it") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"module {name!r} cannot be imported: {_said(error)}; mend it first") from error


def _attribute(found: Any, path: str, target: str) -> Any:
    for name in path.split("."):
        if not hasattr(found, name):
            near = difflib.get_close_matches(name, [n for n in dir(found) if not n.startswith("_")], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "check its name"
            raise InputError(f"TARGET {target!r}: there is no {name!r} in {target.partition(':')[0]}; {hint}")
        found = getattr(found, name)
    return found


def _said(error: BaseException) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
