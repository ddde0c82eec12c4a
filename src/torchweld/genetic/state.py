"""A run after a whole generation, as one file from which it goes on exactly as if it had not stopped.

The file is safetensors; what is not a tensor is JSON in its header. Nothing in it is executed on reading.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from torchweld.core import InputError, written_whole
from torchweld.genetic.memory import Memory
from torchweld.genetic.population import Population

FORMAT = "torchweld genetic run 1"


@dataclass(frozen=True)
class State:
    """Everything a run depends on after `generation` (0 is the start population)."""

    population: Population
    generator: Tensor  # uint8, the random generator's state
    generation: int
    evaluations: int
    gradient_calls: int  # value-and-gradient calls, part of evaluations
    improved_at: int
    seconds: float
    history: Tensor  # (H, 1 + n + 1) float64: generation, best solution, fitness
    trace: Tensor  # (G, 5) float64: generation, best, mean, std, evaluations
    settings: dict[str, Any]  # what a resumed run must agree with
    memory: Memory | None = None


def save_state(state: State, path: str | os.PathLike[str]) -> None:
    """Write the state whole or not at all; by convention `.safetensors`."""
    tensors = {
        "rows": state.population.rows,
        "fitness": state.population.fitness,
        "generator": state.generator,
        "history": state.history,
        "trace": state.trace,
    }
    for name in ("violation", "polished"):
        if (tensor := getattr(state.population, name)) is not None:
            tensors[name] = tensor
    if state.memory is not None:
        tensors |= state.memory.to_tensors()
    facts = {
        "generation": state.generation,
        "evaluations": state.evaluations,
        "gradient_calls": state.gradient_calls,
        "improved_at": state.improved_at,
        "seconds": state.seconds,
        "settings": state.settings,
        "memory": state.memory is not None,
    }
    with written_whole(path) as temporary:
        save_file(
            {name: t.cpu().contiguous() for name, t in tensors.items()},
            temporary,
            metadata={"format": FORMAT, "facts": json.dumps(facts)},
        )


def load_state(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> State:
    """Read a state for `ga(..., start=state)`. Raises `InputError` where the file is missing or something else."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"{os.fspath(path)} is no saved genetic run: {error}") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{os.fspath(path)} is a safetensors file, but no genetic run: its format is not '{FORMAT}'")
    facts = json.loads(metadata["facts"])
    individuals = {n: tensors[n].to(device) for n in ("rows", "fitness", "violation", "polished") if n in tensors}
    return State(
        Population(**individuals),
        tensors["generator"],
        facts["generation"],
        facts["evaluations"],
        facts["gradient_calls"],
        facts["improved_at"],
        facts["seconds"],
        tensors["history"],
        tensors["trace"],
        facts["settings"],
        Memory.from_tensors(tensors) if facts["memory"] else None,
    )
