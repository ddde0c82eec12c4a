"""`torchweld models`: the list, the walk, JSON, and what cannot be read."""

from __future__ import annotations

import json

import pytest

from torchweld import models
from torchweld.cli import main


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert capsys.readouterr().out.split() == list(models.names())
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"models": list(models.names())}


def test_the_walk_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "resnet18_notes", "--input", "1x1x96x96", "--depth", "1"]) == 0
    shown = capsys.readouterr().out
    for text in ("1x64x48x48", "1x512x3x3", "11,175,434 parameters", "637,315,072 FLOPs", "resnet_block4"):
        assert text in shown


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "lenet_bn", "--input", "2x1x28x28", "--classes", "3", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["steps"][-1]["output"] == [2, 3]
    assert made["parameters"] == sum(step["parameters"] for step in made["steps"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["resnet19"], "resnet18"),
        (["lenet_bn", "--input", "1x1x8x8"], "too small"),
        (["lenet_bn", "--input", "1x1x8"], "BxCxHxW"),
        (["lenet_bn", "--input", "1,1,8,8"], "1x1x96x96"),
        (["--input", "1x1x8x8"], "NAME"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *words]) == 2
    shown = capsys.readouterr()
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
