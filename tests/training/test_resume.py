"""A run that is stopped and resumed equals the one that never was: weights, optimiser, metrics, order, bit for bit."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from torchweld.core import InputError
from torchweld.training import load_checkpoint, load_config, resume, save_checkpoint, train
from torchweld.training.shelf import Shelf

from .runs import EVERYTHING, KILLED, StopAt, assert_same, final_state, wait_for_a_new_step


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(EVERYTHING, folder)
    return folder


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
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
    for name in (".config.a1b2.json", ".metrics.a1b2.jsonl", ".model.a1b2.safetensors"):
        (folder / name).write_bytes(b"half")
    found = Shelf(folder / "checkpoints").latest()
    assert found is not None
    assert found[0] == older
    assert "SHA-256" in found[2][0]
    resume(folder)
    assert not list(folder.rglob(".*"))
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
            wait_for_a_new_step(folder, process, moments.uniform(0.0, 0.25))
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
