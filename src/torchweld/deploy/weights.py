"""Reading and writing weights, so that a file can be wrong but not run code.

`.safetensors` holds tensors only. `.pt` and `.pth` are pickles, read with `weights_only=True`, which admits tensors and
plain containers; what it refuses is refused here, without a second way. A `.pt2` is code: torch unpickles parts of it
and executes guards from it, so it is read only on the caller's word that it is trusted.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from torchweld.core import InputError, written_whole

_PICKLES = (".pt", ".pth", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which trainers put a model's state beside their own


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Loads a state_dict into `model`; every tensor must have its place and shape, and every place its tensor.

    Raises `InputError` if the file is missing, is of no known kind, is corrupt or holds more than tensors, or does not
    fit; then the model is as it was.
    """
    file = Path(path)
    state = read_state(file)
    expected = model.state_dict()
    if state.keys() != expected.keys() and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}  # DataParallel's prefix
    missing = [key for key in expected if key not in state]
    foreign = [key for key in state if key not in expected]
    if missing or foreign:
        parts = [f"lacks {_some(missing)}"] * bool(missing) + [f"has {_some(foreign)} that the model lacks"] * bool(
            foreign
        )
        raise InputError(
            f"{file} does not fit the model: it {' and '.join(parts)}; is it the checkpoint of this model?"
        )
    for key, value in expected.items():
        if state[key].shape != value.shape:
            ours, theirs = (_shape(t) for t in (value, state[key]))
            raise InputError(f"{file} does not fit the model: {key!r} is {theirs} there and {ours} in the model; "
                             "build the model with the sizes it was trained with")  # fmt: skip
    model.load_state_dict(state)


def read_state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state_dict in a file, whatever model it is of, out of a trainer's checkpoint if need be.

    Raises `InputError` if the file is missing, of no known kind, corrupt, a whole pickled model, or holds none.
    """
    file = Path(path)
    return _unwrapped(file, _read(file))


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes the model's state_dict as `.safetensors`, whole or not at all."""
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    with written_whole(path) as temporary:
        save_file(state, temporary)


def read_program(path: str | os.PathLike[str], trust: bool) -> nn.Module:
    """The model in a `.pt2` written by `torch.export.save`. Raises `InputError` unless trusted, present and whole."""
    file = Path(path)
    if not trust:
        raise InputError(f"{file}: reading a .pt2 can execute code hidden in it; pass --trust if you know its origin")
    _check_present(file)
    try:
        module = torch.export.load(file).module()
    except Exception as error:
        raise InputError(f"{file} is not a whole .pt2 of this version of torch: {_first_line(error)}; "
                         "write it anew with torch.export.save") from error  # fmt: skip
    # The graph is fixed, its flag says nothing, and such a module refuses .eval().
    for part in module.modules():
        part.training = False
    return module


def _read(file: Path) -> Any:
    _check_present(file)
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise InputError(f"{file} is not a whole .safetensors file: {_first_line(error)}; get it anew") from error
    if suffix not in _PICKLES:
        raise InputError(f"{file}: weights are read from .safetensors, {', '.join(_PICKLES)} files only")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{file} is corrupt or holds more than tensors, and reading that could execute code; save "
            "model.state_dict() alone, best as .safetensors"
        ) from error
    except Exception as error:  # random bytes make the reader fail in any way
        raise InputError(f"{file} is corrupt or no torch checkpoint ({type(error).__name__}); get it anew") from error


def _check_present(file: Path) -> None:
    if not file.exists():
        raise InputError(f"{file} does not exist; check the path")
    if not file.is_file():
        raise InputError(f"{file} is no file; check the path")


def _unwrapped(file: Path, content: Any) -> dict[str, Tensor]:
    """The state_dict itself, out of a trainer's checkpoint if need be."""
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{file} holds no state_dict, a mapping of names to tensors; save model.state_dict()")
    return dict(content)


def _some(keys: list[str]) -> str:
    return repr(keys[0]) if len(keys) == 1 else f"{keys[0]!r} and {len(keys) - 1} more"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
