"""The checkpoints of a run: `step-00000120.safetensors`, ..., the last few and the best; orphans are swept away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchweld.core import InputError, written_whole
from torchweld.training.checkpoint import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Shelf:
    """A folder of checkpoints that keeps the newest `keep`, and the best under a name of its own."""

    folder: Path
    keep: int = 2

    @property
    def best(self) -> Path:
        """Where the best stands, if there is one yet."""
        return self.folder / "best.safetensors"

    def steps(self) -> list[Path]:
        """Checkpoints by step, newest first, whether or not they verify."""
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)

    def sweep(self) -> None:
        """Removes what a kill may have left: temporaries of files that were being written."""
        for orphan in self.folder.glob(".*.safetensors"):
            orphan.unlink(missing_ok=True)

    def save(self, step: int, state: Mapping[str, Any], best: bool = False) -> Path:
        """Writes the state after `step` steps, then lets the oldest go; `best` puts a copy under that name."""
        path = self.folder / f"step-{step:08d}.safetensors"
        save_checkpoint(path, state)
        if best:
            with written_whole(self.best) as temporary:
                temporary.unlink()
                try:
                    os.link(path, temporary)  # one file, two names: no second copy on disk
                except OSError:
                    shutil.copyfile(path, temporary)
        for old in self.steps()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> tuple[Path, dict[str, Any], list[str]] | None:
        """The newest checkpoint that verifies, its state, and what was wrong with newer ones; None if there is none."""
        wrong: list[str] = []
        for path in self.steps():
            try:
                return path, load_checkpoint(path), wrong
            except InputError as error:
                wrong.append(str(error))
        if wrong:
            raise InputError(f"no checkpoint in {self.folder} verifies: {wrong[0]}")
        return None
