"""A model of which parts are welded: what works as on a wholly welded one, and what cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import nn

from torchweld.core import InputError
from torchweld.fusion.fused import Fused, Origin
from torchweld.fusion.report import Declined, Report


@dataclass(frozen=True, eq=False)
class PartlyFused:
    """A copy of the original with welded modules in it. `parts` has them by path; `declined` says why not the others.

    There is no graph of the whole, so there is no `.pt2` of it either: save each part, or the copy's `state_dict`.
    """

    module: nn.Module
    report: Report
    parts: Mapping[str, Fused]
    declined: tuple[Declined, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def save(self, path: str | os.PathLike[str]) -> NoReturn:
        """Raises `InputError`: the whole cannot be captured, which a `.pt2` would need."""
        first = next(iter(self.parts))
        raise InputError(
            f"{os.fspath(path)}: a model welded in part has Python code left between its parts, which a .pt2 cannot "
            f"hold; save a part by .parts[{first!r}].save(...), or the weights by .module.state_dict()"
        )

    @property
    def origins(self) -> dict[str, Origin]:
        """For each key of a welded part, the original's keys that it was computed from, and the laws."""
        return {
            f"{path}.{key}": Origin(tuple(f"{path}.{s}" for s in origin.sources), origin.laws)
            for path, part in self.parts.items()
            for key, origin in part.origins.items()
        }

    def refresh(self, model: nn.Module) -> None:
        """Welds the model's present weights into the parts, and copies those of the rest."""
        for path, part in self.parts.items():
            part.refresh(model.get_submodule(path))
        inside = tuple(f"{path}." for path in self.parts)
        mine = self.module.state_dict(keep_vars=True)
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if not key.startswith(inside):
                    mine[key].copy_(value)

    def stale(self, model: nn.Module) -> tuple[str, ...]:
        """Keys of the welded parts that have changed in the model since."""
        return tuple(
            f"{path}.{key}" for path, part in self.parts.items() for key in part.stale(model.get_submodule(path))
        )
