"""What a model writes into its buffers when it is run: put back afterwards, and told from a model that remembers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Snapshot = list[tuple[str, nn.Module, str, Tensor, Tensor]]  # path, module, name, the buffer, a copy of its values


def snapshot(model: nn.Module) -> Snapshot:
    """The model's buffers and their values."""
    return [
        (f"{path}.{name}".lstrip("."), module, name, buffer, buffer.detach().clone())
        for path, module in model.named_modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]


def changed(before: Snapshot) -> list[str]:
    """Paths of the buffers that have other values now, or are other tensors."""
    return [path for path, module, name, _, value in before if not _same(module._buffers[name], value)]


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Puts the model's buffers back as they were."""
    before = snapshot(model)
    try:
        yield
    finally:
        for _, module, name, buffer, value in before:
            if module._buffers[name] is not buffer or not _same(buffer, value):
                module._buffers[name] = buffer
                buffer.data = value


def _same(buffer: Tensor | None, value: Tensor) -> bool:
    if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
        return False
    return torch.equal(buffer.nan_to_num(), value.nan_to_num())
