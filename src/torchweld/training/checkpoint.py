"""One checkpoint file: any number of named states in one `.safetensors`, with a SHA-256 of all it holds; no pickle.

The file is written beside its place, flushed to disk and renamed, so it is whole or not there at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from torchweld.core import InputError, written_whole
from torchweld.training.trees import packed, unpacked

_FORMAT = "torchweld checkpoint 1"
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # zip of pickles, bare pickles


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Writes nested state (see `trees`), of several models and optimisers, say, whole or not at all.

    Raises `InputError` for what has no place in a checkpoint and where the disk is full; what stood at `path` before
    is then untouched.

    >>> import tempfile
    >>> model = nn.Linear(2, 3)
    >>> file = Path(tempfile.mkdtemp()) / "two.safetensors"
    >>> save_checkpoint(file, {"models": {"a": model.state_dict(), "b": model.state_dict()}, "step": 7})
    >>> load_checkpoint(file)["step"]
    7
    """
    tensors, rest = packed(state)
    # Clones: safetensors refuses tensors that share memory, and tied weights do.
    tensors = {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    text = json.dumps(rest, allow_nan=False, separators=(",", ":"))
    metadata = {"format": _FORMAT, "tree": text, "sha256": _digest(tensors, text)}
    try:
        with written_whole(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"{path}: could not be written ({reason}); free some space and resume: earlier checkpoints are intact"
        ) from None


def load_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> dict[str, Any]:
    """The state that `save_checkpoint` wrote, after its SHA-256 has been found right. Nothing in the file is executed.

    Raises `InputError` if the file is missing, a pickle, cut short, changed, or something else.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; check the path") from None
    if start.startswith(_PICKLE_STARTS):
        raise InputError(f"{file} is a pickle, which can run code when it is read; "
                         f"`torchweld convert {file.name}` reads the state of one without running any")  # fmt: skip
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        what = "is empty" if not start else f"is cut short or corrupt ({error})"
        raise InputError(f"{file} {what}; take an earlier checkpoint") from None
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{file} holds weights but no training state; use it with init_from")
    if _digest(tensors, metadata.get("tree", "")) != metadata.get("sha256"):
        raise InputError(f"{file} is corrupt: its SHA-256 is not that of its content; take an earlier checkpoint")
    state = unpacked({name: tensor.to(device) for name, tensor in tensors.items()}, json.loads(metadata["tree"]))
    return dict(state)


def restore_model(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads `state` if every name and shape agree; raises `InputError` that names the first that does not."""
    expected = model.state_dict()
    for names, missing in ((expected, state), (state, expected)):
        for name in names:
            if name not in missing:
                where = source if names is expected else "the model"
                raise InputError(
                    f"{source} is of another model: {where} lacks {name!r}; check `model` and its settings"
                )
    for name, value in expected.items():
        if value.shape != state[name].shape:
            raise InputError(f"{source} is of another model: {name!r} is {_shape(state[name])} there and "
                             f"{_shape(value)} here; check `model` and the number of classes")  # fmt: skip
    model.load_state_dict(dict(state))


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Loads an optimiser's state; its tensors take the memory format of their parameters, as they had when saved."""
    optimizer.load_state_dict(dict(state))
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
