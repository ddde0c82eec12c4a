"""Plans by the clock: what is chosen, what is remembered, and that a broken memory is no obstacle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torchweld.core import relative_error
from torchweld.fusion import Machine, calibrate_machine, fuse, machine_for, remember_machine, shipped_machine
from torchweld.fusion.measure import WRITTEN, Measured, fastest
from torchweld.fusion.remembered import Remembered, cache_folder

SLOW, SHIPPED = Machine(1e6, 1e6, 1e6, 1e6, 1.0), shipped_machine("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHWELD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.wide(x) + self.narrow(x) + x).relu()


def test_the_fused_model_is_the_same_function_and_the_report_says_what_was_measured(cache: Path) -> None:
    torch.manual_seed(0)
    model, x = Branches().eval(), torch.randn(1, 8, 20, 20)
    fused = fuse(model, x, measure=True)
    assert relative_error(fused(x), model(x)) < 1e-5
    assert fused.report.certificate.twin_error <= 1e-10
    notes = [note for note in fused.report.notes if note.startswith("measured: ")]
    assert len(notes) == 1
    assert WRITTEN in notes[0]
    times = json.loads((cache / "maps.json").read_text())
    assert all(seconds > 0 for taken in times.values() for seconds in taken.values())


def test_what_was_timed_is_not_timed_again(cache: Path) -> None:
    model, x = Branches().eval(), torch.randn(1, 8, 20, 20)
    fuse(model, x, measure=True)
    before = (cache / "maps.json").read_bytes()
    fuse(model, x, measure=True)
    assert (cache / "maps.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_memory_that_cannot_be_read_is_built_anew(cache: Path, content: bytes) -> None:
    cache.mkdir()
    (cache / "maps.json").write_bytes(content)
    (cache / "machines.json").write_bytes(content)
    assert machine_for("cpu", torch.float32) == SHIPPED
    remember_machine("cpu", torch.float32, SLOW)
    assert machine_for("cpu", torch.float32) == SLOW
    fuse(Branches().eval(), torch.randn(1, 8, 9, 9), measure=True)
    assert isinstance(json.loads((cache / "maps.json").read_text()), dict)


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCHWELD_CACHE", str(tmp_path / "file" / "below"))
    remember_machine("cpu", torch.float32, SLOW)
    assert machine_for("cpu", torch.float32) == SHIPPED


def test_what_others_wrote_in_the_meantime_is_kept() -> None:
    one, other = Remembered("maps.json"), Remembered("maps.json")
    one.update({"a": 1})
    other.update({"b": 2})
    assert (Remembered("maps.json").get("a"), Remembered("maps.json").get("b")) == (1, 2)


def test_constants_are_kept_by_dtype_and_threads() -> None:
    remember_machine("cpu", torch.float32, SLOW)
    assert machine_for("cpu", torch.bfloat16) == SHIPPED
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert machine_for("cpu", torch.float32) == SHIPPED
    finally:
        torch.set_num_threads(threads)
    assert machine_for("cpu", torch.float32) == SLOW


def test_constants_of_another_form_are_left(cache: Path) -> None:
    remember_machine("cpu", torch.float32, SLOW)
    stored = json.loads((cache / "machines.json").read_text())
    for broken in ({"launch_seconds": 1.0}, dict.fromkeys(SLOW.to_dict(), -1.0), 3):
        (cache / "machines.json").write_text(json.dumps(dict.fromkeys(stored, broken)))
        assert machine_for("cpu", torch.float32) == SHIPPED


class Beside(nn.Module):
    """Two large convolutions of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).relu() * self.b(x).tanh()


def test_the_plan_follows_the_stored_constants() -> None:
    model, x = Beside().eval(), torch.randn(1, 64, 32, 32)
    assert fuse(model, x).report.after.convs == 2
    remember_machine("cpu", torch.float32, Machine(1e15, 1e15, 1e15, 1e13, 1e-3))  # nothing costs but the calls
    assert fuse(model, x).report.after.convs == 1


def test_the_model_itself_is_the_measure() -> None:
    small, large = torch.randn(2, 2), torch.randn(600, 600)
    chosen = fastest(lambda: large @ large, {WRITTEN: lambda: large @ large @ large, "quick": lambda: small @ small})
    assert chosen.chosen == "quick"
    assert "quick is fastest" in str(chosen)
    slower = fastest(lambda: small @ small, {WRITTEN: lambda: small @ small, "slow": lambda: large @ large @ large})
    assert slower.chosen == WRITTEN
    assert "nothing is faster" in str(Measured({"slow": 1.2, WRITTEN: 1.0}, WRITTEN))


def test_calibration_measures_every_constant() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert all(value > 0 for value in calibrate_machine("cpu", dtype, seconds=0.02).to_dict().values())


def test_the_folder_is_the_users_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHWELD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == Path("/some/where/torchweld")
