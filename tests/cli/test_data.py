"""`torchweld data inspect`: what it prints, and its exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchweld.cli import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHWELD_CACHE", str(tmp_path_factory.mktemp("cache")))


def fields(root: Path) -> Path:
    """Four images with masks of 0 and 255; every second column is field."""
    root.mkdir(exist_ok=True)
    mask = np.zeros((8, 6), np.uint8)
    mask[:, ::2] = 255
    for i in range(4):
        Image.fromarray(np.full((8, 6, 3), 50 * i, np.uint8)).save(root / f"tile.{i}.png")
        Image.fromarray(mask).save(root / f"tile.{i}_mask.png")
    return root


def test_digits_are_inspected_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "digits.png"
    assert main(["data", "inspect", "digits", "--grid", str(picture)]) == 0
    shown = capsys.readouterr().out
    for words in ("train 1,618  held_out 179", "imbalance   1.05", "mean 0.3055; std 0.3761", "0 across parts"):
        assert words in shown
    assert Image.open(picture).size[0] > 400


def test_masks_show_their_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(fields(tmp_path / "set")), "--holdout", "0"]) == 0
    shown = capsys.readouterr().out
    assert "0 -> 0, 255 -> 1" in shown
    assert "8x6 (4); pixels RGB (4)" in shown
    assert "50.0%" in shown


def test_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(fields(tmp_path / "set")), "--json", "--holdout", "0"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["counts"]["train"] == [96, 96]
    assert made["mask_values"] == {"0": 0, "255": 1}
    assert made["problems"] == []
    assert made["sizes"] == {"8x6": 4}


def test_a_network_adds_what_its_step_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", "digits", "--model", "branched_tiny"]) == 0
    assert "branched_tiny, batches of 64, Adam: data" in capsys.readouterr().out
    assert main(["data", "inspect", "digits", "--model", "branched_tiny", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["footprint"]
    assert made["gradients"] == made["parameters"]
    assert made["optimizer_state"] > 2 * made["parameters"] - 1


def test_every_problem_is_listed_and_the_status_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = fields(tmp_path / "set")
    for i in (0, 2):
        (root / f"tile.{i}_mask.png").unlink()
    (root / "tile.1.png").write_bytes(b"broken")
    assert main(["data", "inspect", str(root)]) == 2
    shown = capsys.readouterr()
    assert shown.out.count("has no mask; add") == 2
    assert "tile.1.png: cannot be read" in shown.out
    assert "3 problems" in shown.err
    assert shown.err.count("\n") == 1
    assert main(["data", "inspect", str(root), "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 3


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["inspect", "no/such/folder"], "does not exist"),
        (["show", "digits"], "data inspect"),
        (["inspect", "digits", "--image-size", "axb"], "HxW"),
        (["inspect", "digits", "--task", "segment"], "segment"),
        (["inspect", "digits", "--grid", "a.what"], ".what"),
        (["inspect"], "PATH"),
        (["inspect", "digits", "--model", "no_such_network"], "no_such_network"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *words]) == 2
    shown = capsys.readouterr()
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
