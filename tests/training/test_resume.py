"""A run that is stopped and resumed equals the one that never was: weights, optimiser, metrics, order, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.data import Augmentation
from torchweld.training import Config, Record, StepRecord, load_checkpoint, load_config, resume, save_checkpoint, train
from torchweld.training.session import Session
from torchweld.training.shelf import Shelf

# All that draws or remembers: dropout, augmentation with mixing, accumulation, a running mean, clipping, warm-up.
EVERYTHING = Config(
    model="branched_nano",
    epochs=3,
    batch_size=96,
    accumulate=2,
    dropout=0.3,
    ema=0.95,
    clip_norm=1.0,
    augmentation=Augmentation(shift_pixels=1, rotate_degrees=10.0, erase=0.3, mixup=0.2),
    threads=1,
    dtype="float32",
    channels_last=True,
    trackers=(),
)


class StopAt:
    """Asks for an end, as Ctrl-C does, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def begin(self, session: Session) -> None: ...

    def step_done(self, session: Session, record: StepRecord) -> None:
        if record.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def epoch_done(self, session: Session, record: Record) -> None: ...

    def end(self, session: Session) -> None: ...


def assert_same(a: Any, b: Any, place: str = "") -> None:
    """Equal to the bit, and of the same types, all the way down."""
    assert type(a) is type(b), place
    if isinstance(a, Tensor):
        assert torch.equal(a, b), place
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_same(a[key], b[key], f"{place}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for i, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{place}/{i}")
    else:
        assert a == b, place


def final_state(folder: Path) -> dict[str, Any]:
    """The newest checkpoint without what a clock decides."""
    found = Shelf(folder / "checkpoints").latest()
    assert found is not None
    state = found[1]
    state["progress"].pop("seconds")
    state["history"] = [Record(**record).figures() for record in state["history"]]
    return state


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(EVERYTHING, folder)
    return folder


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("step", [1, 7, 15, 16])  # an epoch has 15 steps
def test_a_stopped_run_goes_on_bit_for_bit(step: int, optimizer: str, tmp_path: Path, straight: Path) -> None:
    config = replace(EVERYTHING, optimizer=optimizer, learning_rate=0.1 if optimizer == "sgd" else 0.003)
    if optimizer == "sgd":
        reference = straight
    else:
        reference = tmp_path / "straight"
        train(config, reference)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, [StopAt(step)])
    done = load_checkpoint(Shelf(folder / "checkpoints").steps()[0])["progress"]
    assert 15 * done["epoch"] + done["step"] == step
    run = resume(folder)
    assert_same(final_state(folder), final_state(reference))
    assert len(run.history) == 3
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


def test_workers_change_nothing_not_even_across_a_resume(tmp_path: Path, straight: Path) -> None:
    folder = tmp_path / "run"
    config = replace(EVERYTHING, workers=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, [StopAt(20)])
    resume(folder)
    state, expected = final_state(folder), final_state(straight)
    assert state.pop("config")["workers"] == 2
    expected.pop("config")
    assert_same(state, expected)


def test_bfloat16_goes_on_bit_for_bit(tmp_path: Path) -> None:
    config = replace(EVERYTHING, dtype="bfloat16", epochs=2, optimizer="adamw", learning_rate=0.003)
    train(config, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", [StopAt(9)])
    resume(tmp_path / "run")
    assert_same(final_state(tmp_path / "run"), final_state(tmp_path / "straight"))


def test_a_finished_run_resumed_is_the_same_run(straight: Path, tmp_path: Path) -> None:
    run = resume(straight)
    assert [record.epoch for record in run.history] == [1, 2, 3]
    assert run.best_epoch >= 1


def test_a_folder_that_holds_a_run_is_not_overwritten(straight: Path) -> None:
    with pytest.raises(InputError, match="holds a run already"):
        train(EVERYTHING, straight)
    with pytest.raises(InputError, match="no run to go on with"):
        resume(straight / "nowhere")


def test_a_corrupt_newest_checkpoint_is_passed_over(tmp_path: Path, straight: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(replace(EVERYTHING, save_steps=4), folder, [StopAt(18)])
    newest, older = Shelf(folder / "checkpoints").steps()[:2]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    (folder / "checkpoints" / ".step-00000099.half.safetensors").write_bytes(b"half")
    found = Shelf(folder / "checkpoints").latest()
    assert found is not None
    assert found[0] == older
    assert "SHA-256" in found[2][0]
    resume(folder)
    assert not list((folder / "checkpoints").glob(".*"))
    state, expected = final_state(folder), final_state(straight)
    assert state.pop("config") == {**expected.pop("config"), "save_steps": 4}
    assert_same(state, expected)


def test_kept_are_the_last_few_and_the_best(tmp_path: Path) -> None:
    config = replace(EVERYTHING, keep=2, save_steps=5)
    run = train(config, tmp_path / "run")
    shelf = Shelf(tmp_path / "run" / "checkpoints")
    assert [path.name for path in shelf.steps()] == ["step-00000045.safetensors", "step-00000040.safetensors"]
    best = load_checkpoint(shelf.best)
    assert best["progress"]["best_epoch"] == best["progress"]["epoch"] == run.best_epoch
    assert load_config(tmp_path / "run" / "config.json") == run.config


KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from torchweld.training import load_config, resume, train
folder = Path(sys.argv[1])
if (folder / "config.json").exists():
    resume(folder)
else:
    train(load_config(Path(sys.argv[2])), folder)
"""


def test_sigkill_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    """Ten here; `benchmarks/kill.py` does a hundred."""
    kills, config = 10, replace(EVERYTHING, epochs=6, save_steps=1)
    train(config, tmp_path / "straight")
    save_config = tmp_path / "straight" / "config.json"
    folder, moments = tmp_path / "run", random.Random(3)
    command = [sys.executable, "-c", KILLED, str(folder), str(save_config)]
    done = 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done < kills:
            _wait_for_a_new_step(folder, process, moments.uniform(0.0, 0.25))
            process.kill()
            process.wait()
            done += 1
            if (folder / "checkpoints").exists() and list((folder / "checkpoints").glob("step-*")):
                assert Shelf(folder / "checkpoints").latest() is not None
            continue
        error = process.communicate(timeout=300)[1]
        assert process.returncode == 0, error.decode()
        break
    assert done == kills
    assert not list(folder.rglob(".*"))
    assert_same(final_state(folder), final_state(tmp_path / "straight"))


def _wait_for_a_new_step(folder: Path, process: subprocess.Popen[bytes], then_seconds: float) -> None:
    """Until the process has written a checkpoint of its own, and a random moment longer."""
    begun = time.time()
    while process.poll() is None:
        files = [path for path in (folder / "checkpoints").glob("step-*") if _written(path) > begun]
        if len(files) > 1:
            time.sleep(then_seconds)
            return
        time.sleep(0.01)
        assert time.time() - begun < 300


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # let go meanwhile
        return 0.0


def test_any_number_of_models_and_optimizers_in_one_file(tmp_path: Path) -> None:
    models = {name: torch.nn.Linear(3, 2) for name in ("generator", "judge")}
    optimizers = {name: torch.optim.Adam(model.parameters()) for name, model in models.items()}
    for name, model in models.items():
        model(torch.randn(4, 3)).sum().backward()
        optimizers[name].step()
    state = {
        "models": {name: model.state_dict() for name, model in models.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        "class_map": {0: "cat", 1: "dog"},
        "shape": (1, 2.5, float("inf"), None, True),
    }
    save_checkpoint(tmp_path / "both.safetensors", state)
    again = load_checkpoint(tmp_path / "both.safetensors")
    assert_same(again["class_map"], state["class_map"])
    assert_same(again["shape"], state["shape"])
    assert_same(again["optimizers"], state["optimizers"])
    for name, model in models.items():
        assert_same(again["models"][name], dict(model.state_dict()))
