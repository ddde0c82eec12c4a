"""The command `torchweld`: its verbs in one table, and the one place where an error becomes a line and a status.

To add a verb: a file `cli/VERB.py` with a function `VERB` (dashes as underscores) whose parameters are typer's and
whose docstring is the help, and a line in `VERBS`. Only the verb that is called is imported. A verb returns nothing
when it is done, raises `InputError` for input that cannot be used (status 2) and `CheckFailed` when a check or verdict
went against it (status 1); with `--json` it prints one JSON object and nothing else to stdout (see `cli/output.py`).
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from torchweld.cli.quiet import debugging
from torchweld.core import CheckFailed, InputError

VERBS: dict[str, str] = {
    "demo": "Train a branched network on real digits, weld it, prove it equal, time it.",
    "train": "Train a network on a folder of data; stop and resume exactly.",
    "search": "Search the settings of a training run, on one machine or many.",
    "fuse": "Weld a model: the same function in fewer operations, with a certificate.",
    "bench": "Time a model against its welded form, in turns in one process.",
    "convert": "Turn a pickled state_dict into safetensors, without running what may hide in it.",
    "data": "Look at a data set before a network does: classes, sizes, scale, duplicates, and all that is wrong.",
    "calibrate": "Measure this machine, for the planner that fuse chooses by.",
    "models": "List the networks, or show what each layer of one makes of an input.",
    "compare": "Measure what is said of CNNs, RNNs and Transformers on sequences, with verdicts.",
    "minimize": "Minimise a test problem or an expression by classical methods, side by side.",
    "trace": "Differentiate an expression in the open: forward and reverse traces.",
}

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

# typer exports this one usage error by name, and not its base; some versions carry a click of their own.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default) and return its exit status: 0 done, 1 check failed, 2 bad input.

    >>> main(["no-such-verb"])
    2
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    debugging.set(debug)
    words = [word for word in words if word != "--debug"]
    try:
        return _run(words)
    except (InputError, CheckFailed, OSError, _UsageError) as error:
        if isinstance(error, BrokenPipeError):  # the reader, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        if debug:
            traceback.print_exc()
        print(f"torchweld: {_one_line(error)}", file=sys.stderr)
        return FAILED if isinstance(error, CheckFailed) else BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        print("torchweld: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(words: list[str]) -> int:
    verb = next((word for word in words if not word.startswith("-")), None)
    status = _app(verb)(words or ["--help"], standalone_mode=False, prog_name="torchweld")
    sys.stdout.flush()
    return status if isinstance(status, int) else DONE


def _app(verb: str | None) -> typer.Typer:
    """The command with `verb` imported and the others known by their line of help only."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_root)
    for name, line in VERBS.items():
        if name == verb:
            word = name.replace("-", "_")
            app.command(name)(getattr(importlib.import_module(f"torchweld.cli.{word}"), word))
        else:
            app.command(name, help=line)(_elsewhere)
    return app


def _root(debug: bool = typer.Option(False, "--debug", help="Show the whole traceback of an error.")) -> None:
    """Train a network in the branched form, run it in the welded form.

    `torchweld VERB --help` explains a verb with an example. Exit status: 0 done, 1 a check or verdict failed, 2 bad
    input.
    """


def _elsewhere() -> None:
    """Stands for a verb in the list of help; never called."""


def _one_line(error: Exception) -> str:
    formatted = getattr(error, "format_message", None)
    if formatted is not None:
        return f"{' '.join(formatted().split()).rstrip('.')}; see --help"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    return " ".join(str(error).split())
