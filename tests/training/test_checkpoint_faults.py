"""Checkpoints that were corrupted, cut short, forged or cannot be written: one line each, and nothing is executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from torchweld.cli import main
from torchweld.core import InputError
from torchweld.training import Config, Shelf, load_checkpoint, restore_model, save_checkpoint, train
from torchweld.training.trees import packed, unpacked

STATE = {"models": {"model": nn.Linear(4, 3).state_dict()}, "step": 3}
QUICK = Config(model="branched_nano", epochs=1, warmup_epochs=0, threads=1, dtype="float32", channels_last=False,
               trackers=())  # fmt: skip


class Bomb:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "step-00000003.safetensors"
    save_checkpoint(path, STATE)
    return path


def one_line(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_every_cut_is_noticed(whole: Path) -> None:
    content = whole.read_bytes()
    for length in (0, 1, 7, 8, 40, len(content) // 2, len(content) - 1):
        whole.write_bytes(content[:length])
        assert "earlier checkpoint" in one_line(whole)


def test_every_flipped_bit_is_noticed(whole: Path) -> None:
    content = whole.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        whole.write_bytes(changed)
        try:
            again = load_checkpoint(whole)
        except InputError as error:
            said = str(error)
        else:
            said = None
        if said is not None:
            assert "\n" not in said
            continue
        # A bit that safetensors does not look at, such as padding: the state must then be what it was.
        assert packed(again)[1] == packed(STATE)[1]
        for name, value in STATE["models"]["model"].items():
            assert torch.equal(again["models"]["model"][name], value)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    for name, write in (
        ("bare.safetensors", lambda p: p.write_bytes(pickle.dumps(Bomb(trace)))),
        ("zip.safetensors", lambda p: torch.save({"model": Bomb(trace)}, p)),
        ("old.safetensors", lambda p: torch.save(Bomb(trace), p, _use_new_zipfile_serialization=False)),
    ):
        write(tmp_path / name)
        assert "torchweld convert" in one_line(tmp_path / name)
    assert not trace.exists()


def test_convert_reads_a_state_and_refuses_a_bomb_and_a_whole_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, trace = nn.Linear(3, 2), tmp_path / "executed"
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "old.pt")
    assert main(["convert", str(tmp_path / "old.pt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == 2
    from safetensors.torch import load_file

    assert torch.equal(load_file(tmp_path / "old.safetensors")["weight"], model.weight)
    torch.save({"state_dict": Bomb(trace)}, tmp_path / "bomb.pt")
    torch.save(model, tmp_path / "whole.pt")
    for name in ("bomb.pt", "whole.pt", "old.pt", "missing.pt"):  # old.pt: its target is there already
        assert main(["convert", str(tmp_path / name)]) == 2
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1
        assert name.split(".")[0] in shown.err
    assert not trace.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bomb.pt", "old.pt", "old.safetensors", "whole.pt"]


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "weights.safetensors")
    assert "init_from" in one_line(tmp_path / "weights.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is no checkpoint at all")
    assert "corrupt" in one_line(tmp_path / "text.safetensors")
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert "corrupt" in one_line(tmp_path / "huge.safetensors")
    assert "No such file" in one_line(tmp_path / "missing.safetensors")
    assert "directory" in one_line(tmp_path)


def test_another_models_checkpoint_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    state = model.state_dict()
    for wrong, named in (
        ({**state, "1.weight": torch.ones(1)}, "1.weight"),
        ({"0.weight": state["0.weight"]}, "0.bias"),
        ({**state, "0.weight": torch.ones(3, 2)}, "3x2"),
    ):
        with pytest.raises(InputError, match=named):
            restore_model(model, wrong, "some.safetensors")
    restore_model(model, state, "some.safetensors")


def test_a_checkpoint_of_another_model_does_not_start_a_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(QUICK, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace("branched_nano", "branched_tiny"))
    assert main(["train", "--out", str(tmp_path / "run"), "--resume"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "another model" in shown.err


def test_when_all_are_corrupt_it_is_said_and_none_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(QUICK, tmp_path / "run")
    files = Shelf(tmp_path / "run" / "checkpoints").steps()
    for path in files:
        path.write_bytes(b"")
    assert main(["train", "--out", str(tmp_path / "run"), "--resume"]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert Shelf(tmp_path / "run" / "checkpoints").steps() == files


def test_what_has_no_place_in_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="optimizers/hook"):
        save_checkpoint(tmp_path / "a.safetensors", {"optimizers": {"hook": print}})
    assert list(tmp_path.iterdir()) == []


FULL = """
import sys, torch
from pathlib import Path
from torchweld.core import InputError
from torchweld.training import Shelf
shelf = Shelf(Path(sys.argv[1]), keep=2)
saved = 0
try:
    for step in range(100):
        shelf.save(step, {"weights": torch.full((1 << 18,), float(step)), "step": step})
        saved = step
except InputError as error:
    found = shelf.latest()
    assert found is not None and found[1]["step"] == saved, found
    print(error)
"""


def test_a_full_disk_is_said_and_the_last_checkpoint_is_intact(tmp_path: Path) -> None:
    """On a file system of 2.5 MB, which holds two checkpoints of a megabyte, not a third beside them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        done = subprocess.run([sys.executable, "-c", FULL, str(disk)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "could not be written" in done.stdout
        assert "intact" in done.stdout
        assert done.stdout.count("\n") == 1
        assert not list(disk.glob(".*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fails_while_writing_leaves_the_old_file(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = whole.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchweld.training.checkpoint.save_file", fail)
    with pytest.raises(InputError, match="No space left"):
        save_checkpoint(whole, STATE)
    assert whole.read_bytes() == before
    assert [p.name for p in whole.parent.iterdir()] == [whole.name]


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
_KEYS = st.text(max_size=6) | st.integers() | st.sampled_from(["tensor", "items", "tuple", "float"])
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(_TREES)
def test_any_nesting_comes_back_as_it_was(tree: object) -> None:
    tensors, rest = packed(tree)
    again = unpacked(tensors, json.loads(json.dumps(rest, allow_nan=False)))
    assert again == tree
    assert repr(again) == repr(tree)
