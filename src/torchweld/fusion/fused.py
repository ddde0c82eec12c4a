"""A welded model: what it is, where its numbers came from, and how it follows its original."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule

from torchweld.core import InputError, written_whole
from torchweld.fusion.export import export
from torchweld.fusion.prepack import Prepacked, prepacked
from torchweld.fusion.report import Report
from torchweld.maps import Recipe


@dataclass(frozen=True)
class Origin:
    """Where one tensor of the fused model came from: the original's keys, and the laws that made it of them."""

    sources: tuple[str, ...]
    laws: tuple[str, ...]


@dataclass(frozen=True)
class Fingerprint:
    """What a tensor of the original was when it was welded."""

    shape: tuple[int, ...]
    checksum: int


@dataclass(frozen=True, eq=False)
class Fused:
    """A welded model. `module` is a plain `torch.fx.GraphModule`: it runs, trains, pickles and exports by itself.

    `captured` is the original's graph; `recipes` says for each of the module's tensors what it was computed from;
    `lifted` has the constants of the graph that the original keeps in no parameter or buffer.
    """

    module: GraphModule
    report: Report
    captured: Graph
    recipes: Mapping[str, Recipe]
    example: tuple[tuple[Any, ...], dict[str, Any]]
    lifted: Mapping[str, Tensor]
    fingerprints: Mapping[str, Fingerprint]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fused model as a `.pt2` (`torch.export`), which runs without torchweld; whole or not at all."""
        program = export(self.module, *self.example)[0]
        with written_whole(path) as temporary:
            torch.export.save(program, temporary)

    def prepack(self) -> Prepacked:
        """A copy for inference in this process, faster on CPUs with oneDNN: weights in its layout, activations inside.

        Checked against the fused module on the example. Saved files never hold it: it is made after loading.
        """
        return prepacked(self.module, *self.example)

    @property
    def origins(self) -> dict[str, Origin]:
        """For each key of the fused state_dict, the original's keys that it was computed from, and the laws."""
        return {
            key: Origin(recipe.parameters(), tuple(sorted({r.law for r in recipe.walk()} - {"parameter", "literal"})))
            for key, recipe in self.recipes.items()
        }

    @property
    def destinations(self) -> dict[str, tuple[str, ...]]:
        """For each key of the original's state_dict, the fused keys that it went into."""
        found: dict[str, list[str]] = {}
        for key, origin in self.origins.items():
            for source in origin.sources:
                found.setdefault(source, []).append(key)
        return {source: tuple(keys) for source, keys in found.items()}

    def refresh(self, model: nn.Module) -> None:
        """Welds the model's present weights into this fused model, in place, without capturing or planning again.

        `model` is the original, or another with the same parameters and buffers. Raises `InputError` where one is
        missing or has another shape; nothing is changed then.
        """
        state = self._state_of(model)
        targets = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        with _one_thread(), torch.no_grad():
            numbers = {key: recipe.evaluate(state) for key, recipe in self.recipes.items() if key in targets}
            for key, tensor in numbers.items():
                targets[key].copy_(tensor.reshape(targets[key].shape))

    def stale(self, model: nn.Module) -> tuple[str, ...]:
        """Keys of the model that have changed since they were welded, by checksum; () if the fused model is current."""
        now = fingerprints_of(self._state_of(model), self.fingerprints)
        return tuple(key for key, was in self.fingerprints.items() if now[key] != was)

    def _state_of(self, model: nn.Module) -> dict[str, Tensor]:
        state = dict(self.lifted)
        state.update({k: v.detach().cpu() for k, v in model.named_parameters(remove_duplicate=False)})
        state.update({k: v.detach().cpu() for k, v in model.named_buffers(remove_duplicate=False)})
        for key, was in self.fingerprints.items():
            if key not in state:
                raise InputError(f"the model has no {key!r}, from which this fused model was made; fuse it anew")
            if state[key].shape != was.shape:
                raise InputError(f"{key!r} had shape {was.shape} when it was welded, not {tuple(state[key].shape)}")
        return state


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many kernels, each small: threads would spend longer on waiting for each other than on the sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fingerprints_of(state: Mapping[str, Tensor], keys: Iterable[str]) -> dict[str, Fingerprint]:
    """Shapes and checksums of the tensors of these keys."""
    return {key: Fingerprint(tuple(state[key].shape), zlib.crc32(_bytes_of(state[key]))) for key in keys}


def _bytes_of(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes()
