"""Every solution evaluated so far with its value, so that none is evaluated twice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchweld.genetic.population import Evaluated


class Memory:
    """Solutions by their bytes -> (fitness, violation or None, bytes of the repaired solution or None).

    It grows by one entry an evaluation, about 200 bytes and twice the solution each.
    """

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[float, float | None, bytes | None]] = {}

    def __len__(self) -> int:
        return len(self.known)

    def unknown(self, solutions: Tensor) -> tuple[list[bytes], list[int]]:
        """The key of each solution, and the places of the first of each unknown one."""
        keys = [row.tobytes() for row in solutions.cpu().contiguous().numpy()]
        first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self.known}
        return keys, sorted(first.values())

    def add(self, keys: list[bytes], scored: Evaluated) -> None:
        """Remember what was evaluated under these keys."""
        fitness = scored.fitness.tolist()
        violation = [None] * len(keys) if scored.violation is None else scored.violation.tolist()
        repaired = (
            [None] * len(keys)
            if scored.solutions is None
            else [row.tobytes() for row in scored.solutions.cpu().contiguous().numpy()]
        )
        self.known.update(zip(keys, zip(fitness, violation, repaired, strict=True), strict=True))

    def recall(self, keys: list[bytes], solutions: Tensor, dtype: torch.dtype) -> Evaluated:
        """What is known of these solutions, as an `Evaluated` of tensors."""
        entries = [self.known[key] for key in keys]
        device = solutions.device
        repaired = violation = None
        if any(entry[2] is not None for entry in entries):
            rows = b"".join(key if entry[2] is None else entry[2] for key, entry in zip(keys, entries, strict=True))
            repaired = _numbers(rows, solutions)
        if any(entry[1] is not None for entry in entries):
            violation = torch.tensor([entry[1] or 0.0 for entry in entries], dtype=dtype, device=device)
        fitness = torch.tensor([entry[0] for entry in entries], dtype=dtype, device=device)
        return Evaluated(fitness, repaired, violation)

    def to_tensors(self) -> dict[str, Tensor]:
        """The whole memory as tensors, for a state file; NaN and zero bytes stand for None."""
        if not self.known:
            return {}
        nan = float("nan")
        values = [[f, nan if v is None else v, float(r is not None)] for f, v, r in self.known.values()]
        width = len(next(iter(self.known)))
        repaired = b"".join(r or bytes(width) for _, _, r in self.known.values())
        keys = b"".join(self.known)
        return {
            "memory.keys": torch.frombuffer(bytearray(keys), dtype=torch.uint8).view(-1, width),
            "memory.repaired": torch.frombuffer(bytearray(repaired), dtype=torch.uint8).view(-1, width),
            "memory.values": torch.tensor(values, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Memory:
        """The memory that `to_tensors` wrote; empty where there was none."""
        memory = cls()
        if "memory.keys" not in tensors:
            return memory
        keys, repaired = (
            [row.tobytes() for row in tensors[name].numpy()] for name in ("memory.keys", "memory.repaired")
        )
        for key, row, (fitness, violation, has_repair) in zip(
            keys, repaired, tensors["memory.values"].tolist(), strict=True
        ):
            memory.known[key] = (fitness, None if np.isnan(violation) else violation, row if has_repair else None)
        return memory


def _numbers(rows: bytes, like: Tensor) -> Tensor:
    flat = torch.frombuffer(bytearray(rows), dtype=like.dtype)
    return flat.view(-1, like.shape[1]).to(like.device)
