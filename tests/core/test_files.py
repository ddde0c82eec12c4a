"""A file is whole or not there, whatever stops its writing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from torchweld.core import written_whole


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def stop_midway(path: Path, error: type[BaseException]) -> None:
    path.write_text("half")
    raise error


def test_it_appears_whole_and_alone(tmp_path):
    target = tmp_path / "deep" / "er" / "a.json"
    with written_whole(target) as path:
        path.write_text("half")
        assert not target.exists()
        path.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.json"]


def test_the_temporary_lies_beside_it_with_its_suffix(tmp_path):
    with written_whole(str(tmp_path / "model.pt2")) as path:
        assert path.parent == tmp_path
        assert path.suffix == ".pt2"
        assert path.name.startswith(".model.")
        path.write_bytes(b"x")
    assert names(tmp_path) == ["model.pt2"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_an_error_midway_leaves_nothing_and_keeps_what_was_there(tmp_path, error, before):
    target = tmp_path / "a.txt"
    if before is not None:
        target.write_text(before)
    with pytest.raises(error), written_whole(target) as path:
        stop_midway(path, error)
    assert names(tmp_path) == ([] if before is None else ["a.txt"])
    assert before is None or target.read_text() == before


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch, broken):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if broken == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"), written_whole(target) as path:
        path.write_text("new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_it_is_on_disk_before_it_is_renamed(tmp_path, monkeypatch):
    order = []
    real_fsync, real_replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("flush"), real_fsync(file))[1])
    monkeypatch.setattr(Path, "replace", lambda a, b: (order.append("rename"), real_replace(a, b))[1])
    with written_whole(tmp_path / "a") as path:
        path.write_text("x")
    assert order == ["flush", "rename", "flush"]  # the folder, too: the rename itself


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        with written_whole(tmp_path / "a") as path:
            path.write_text("x")
        (tmp_path / "b").write_text("x")
        assert os.umask(mask) == mask, "the umask was changed"
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_killed_process_never_leaves_half_a_target(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from torchweld.core.files import written_whole\n"
        "with written_whole(sys.argv[1]) as path:\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(target)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"


def test_a_target_that_is_a_folder_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"), written_whole(tmp_path / "a") as path:
        path.write_text("x")
    assert names(tmp_path) == ["a"]


def test_a_writer_that_removed_its_own_file_is_told_so(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a") as path:
        path.unlink()
    assert names(tmp_path) == []
