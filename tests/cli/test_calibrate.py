"""The verb `calibrate`: constants measured, printed, stored where the planner finds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from torchweld.cli import main
from torchweld.fusion import machine_for, shipped_machine


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHWELD_CACHE", str(tmp_path))
    return tmp_path


def test_constants_are_printed_and_found_again(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert main(["calibrate", "--dtype", "float32", "--seconds", "0.02", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(cache / "machines.json")
    assert machine_for("cpu", torch.float32).to_dict() == told["constants"]["float32"]
    assert machine_for("cpu", torch.float64) == shipped_machine("cpu")


def test_the_table_has_each_dtype_beside_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--seconds", "0.02"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("float32", "bfloat16", "as shipped", "GFLOP/s", "stored in"))


@pytest.mark.parametrize("words", [["--dtype", "int8"], ["--device", "tpu"]])
def test_what_cannot_be_calibrated_is_bad_input(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", *words]) == 2
    assert words[1] in capsys.readouterr().err
