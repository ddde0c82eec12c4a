"""A run's folder: `config.json`, `metrics.jsonl`, `checkpoints/`, and at the end `result.json`, `model.safetensors`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from torchweld.core import InputError, written_whole
from torchweld.training.config import Config
from torchweld.training.override import from_dict
from torchweld.training.records import Record, Run, StepRecord
from torchweld.training.shelf import Shelf
from torchweld.training.team import Team

if TYPE_CHECKING:
    from torchweld.training.session import Session


@dataclass(frozen=True, eq=False)
class Found:
    """A checkpoint that verifies, its state, and what was wrong with newer ones."""

    path: Path
    state: dict[str, Any]
    wrong: tuple[str, ...]


def claim(folder: Path, team: Team) -> Path:
    """The folder for a new run. Raises `InputError` if it holds one."""
    taken = team.agreed((folder / "config.json").exists())
    if taken:
        raise InputError(f"{folder} holds a run already; go on with it by --resume, or choose another folder")
    return folder


def config_of(folder: Path) -> Config:
    """The config of the run in `folder`. Raises `InputError` if there is no run, or its config cannot be read."""
    return load_config(folder / "config.json", f"{folder} holds no run to go on with; start one without --resume")


def load_config(path: Path, missing: str | None = None) -> Config:
    """A config from its JSON file. Raises `InputError` that names what is wrong with it."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(missing or f"{path}: there is no such config file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no config file ({error}); torchweld train writes one as config.json") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path} is no config file: it holds no settings by name")
    return from_dict(settings)


def newest(folder: Path, team: Team) -> Found | None:
    """The newest checkpoint that verifies; None before the first. Only rank 0 looks; the others are told."""
    if not team.leads:
        return None
    shelf = Shelf(folder / "checkpoints")
    shelf.sweep()
    found = shelf.latest()
    return None if found is None else Found(found[0], found[1], tuple(found[2]))


def save_json(path: Path, value: Any) -> None:
    """JSON, written whole; numbers that JSON does not have become null."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(_finite(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


_OWN = ("config.json", "metrics.jsonl", "result.json", "model.safetensors")  # what is written beside itself first


def sweep(folder: Path) -> None:
    """Removes what a kill may have left of files that were being written."""
    for name in _OWN:
        own = Path(name)
        for orphan in folder.glob(f".{own.stem}.*{own.suffix}"):
            orphan.unlink(missing_ok=True)


class Checkpoints:
    """The watcher that keeps a run: checkpoints, a line of metrics an epoch, the result."""

    def __init__(self, session: Session) -> None:
        assert session.folder is not None
        self.folder = session.folder
        self.metrics = self.folder / "metrics.jsonl"
        self.shelf = Shelf(self.folder / "checkpoints", session.config.keep)
        self.saved = -1

    def begin(self, session: Session) -> None:
        save_json(self.folder / "config.json", session.config.to_dict())
        self.shelf.folder.mkdir(parents=True, exist_ok=True)
        self.shelf.sweep()
        sweep(self.folder)
        # Lines of epochs that a resumed run is about to repeat are dropped, and a line that a kill has torn.
        with written_whole(self.metrics) as temporary:
            temporary.write_text("".join(_line(record) for record in session.history), encoding="utf-8")
        self._save(session)

    def step_done(self, session: Session, record: StepRecord) -> None:
        every = session.config.save_steps
        if every is not None and record.step % every == 0:
            self._save(session)

    def epoch_done(self, session: Session, record: Record) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        self._save(session, best=session.best_epoch == record.epoch)

    def end(self, session: Session) -> None:
        if session.stopped == "interrupted":
            self._save(session)

    def finished(self, run: Run) -> None:
        """What the run came to, and its weights by themselves."""
        state = {name: value.detach().cpu().contiguous().clone() for name, value in run.model.state_dict().items()}
        with written_whole(self.folder / "model.safetensors") as temporary:
            save_file(state, temporary)
        save_json(self.folder / "result.json", run.to_dict())

    def _save(self, session: Session, best: bool = False) -> None:
        if session.total_steps == self.saved and not best:
            return
        self.shelf.save(session.total_steps, session.state(), best)
        self.saved = session.total_steps


def _line(record: Record) -> str:
    return json.dumps(_finite(asdict(record)), allow_nan=False) + "\n"
