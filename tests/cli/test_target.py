"""TARGET, --input, --weights, -o: what works, and that everything else is one line, status 2 and nothing written."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from torchweld.cli import main
from torchweld.cli.target import example_input
from torchweld.core import InputError
from torchweld.deploy import read_program

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, steps=1):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return torch.relu(self.norm(self.a(x) + self.b(x)))

class Branching(Net):
    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(7, 4), nn.Linear(4, 2)

    def forward(self, tokens, scale):
        return self.head(self.table(tokens)) * scale

def build():
    print("building")
    return Net()

def needs_argument(steps):
    return Net(steps)

def fails():
    raise ValueError("no such size\\nsecond line")

def stops():
    raise SystemExit("stopped")

def number():
    return 3

ready = Net()
constant = 3
"""

INPUT = ("--input", "1x3x8x8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder with a module `net`, as the current folder."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "needs.py").write_text("import no_such_dependency")
    (tmp_path / "broken.py").write_text("x = (")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in ("net", "needs", "broken"):
        sys.modules.pop(name, None)


def state(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    net = nn.Module()
    net.a, net.b, net.norm = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in {**net.state_dict(), **named}.items() if value is not None}


def one_line(capsys: pytest.CaptureFixture[str], *named: str) -> None:
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = [line for line in shown.err.splitlines() if line != "building"]
    assert len(lines) == 1, shown.err
    assert lines[0].startswith("torchweld: ")
    for name in named:
        assert name in lines[0]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["fuse", "net:build"], ["--input"]),
        (["fuse", "nowhere"], ["nowhere", "net:build"]),
        (["fuse"], ["TARGET"]),
        (["fuse", "net", *INPUT], ["'net'", "module:callable"]),
        (["fuse", "net.py:build", *INPUT], ["net:build"]),
        (["fuse", "nett:build", *INPUT], ["'nett'"]),
        (["fuse", "needs:build", *INPUT], ["'needs'", "no_such_dependency", "install"]),
        (["fuse", "broken:build", *INPUT], ["'broken'", "SyntaxError"]),
        (["fuse", "net:biuld", *INPUT], ["'biuld'", "'build'"]),
        (["fuse", "net:constant", *INPUT], ["constant", "int"]),
        (["fuse", "net:number", *INPUT], ["number", "torch.nn.Module"]),
        (["fuse", "net:needs_argument", *INPUT], ["needs_argument", "without arguments"]),
        (["fuse", "net:fails", *INPUT], ["ValueError: no such size"]),
        (["fuse", "net:stops", *INPUT], ["SystemExit"]),
        (["fuse", "net:build", "--input", "1x3xq"], ["1x3xq", "1x3x224x224"]),
        (["fuse", "net:build", "--input", "1x0x8x8"], ["1x0x8x8", "at least 1"]),
        (["fuse", "net:build", "--input", "99999999x99999999"], ["smaller"]),
        (["fuse", "net:build", "--input", "1x3x8x8:float3"], ["float3", "float32"]),
        (["fuse", "net:build", "--input", "1x4x8x8"], ["1x4x8x8", "channels"]),
        (["fuse", "net:build", *INPUT, *INPUT], ["1x3x8x8, 1x3x8x8"]),
        (["fuse", "net:Branching", *INPUT], ["Branching", "torch.export", "control flow"]),
        (["fuse", "net:build", *INPUT, "-o", "out.txt"], ["out.txt", "out.pt2"]),
        (["fuse", "net:build", *INPUT, "--report", "page.pdf"], ["page.pdf", "page.html"]),
        (["fuse", "net:build", *INPUT, "-o", "taken.pt2"], ["taken.pt2", "folder"]),
        (["fuse", "net:build", *INPUT, "-o", "net.py/out.pt2"], ["net.py"]),
        (["fuse", "missing.pt2", *INPUT, "--trust"], ["missing.pt2", "does not exist"]),
        (["bench", "net:build", *INPUT, "--engine", "warp"], ["'warp'", "channels_last"]),
        (["bench", "net:build", *INPUT, "--threads", "0"], ["--threads"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    words: list[str], named: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "taken.pt2").mkdir()
    before = sorted(folder.iterdir())
    assert main([*words] if "-o" in words or words[0] == "bench" else [*words, "-o", "out.pt2"]) == 2
    one_line(capsys, *named)
    assert sorted(folder.iterdir()) == before


def test_weights_that_do_not_fit_are_named_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(state(a__bias=None, zzz=torch.ones(2)), folder / "keys.safetensors")
    save_file(state(a__weight=torch.ones(8, 2, 3, 3)), folder / "shape.safetensors")
    torch.save([1, 2], folder / "list.pt")
    (folder / "cut.safetensors").write_bytes((folder / "keys.safetensors").read_bytes()[:-9])
    (folder / "junk.pt").write_bytes(b"junk")
    (folder / "empty.pth").write_bytes(b"")
    torch.save(state(), folder / "whole.pt")
    (folder / "cut.pt").write_bytes((folder / "whole.pt").read_bytes()[:-100])
    before = sorted(folder.iterdir())
    for name, *named in (
        ("keys.safetensors", "'a.bias'", "'zzz'"),
        ("shape.safetensors", "'a.weight'", "8x2x3x3", "8x3x3x3"),
        ("list.pt", "state_dict"),
        ("cut.safetensors", "whole"),
        ("junk.pt", "corrupt"),
        ("empty.pth", "corrupt"),
        ("cut.pt", "corrupt"),
        ("net.py", ".safetensors"),
        ("missing.pt", "does not exist"),
    ):
        assert main(["fuse", "net:build", *INPUT, "--weights", name, "-o", "out.pt2"]) == 2, name
        one_line(capsys, name, *named)
        assert sorted(folder.iterdir()) == before


class Bomb:
    """Unpickling this makes a folder; a reader that falls back to plain pickle sets it off."""

    def __reduce__(self) -> tuple:
        return (Path.mkdir, (Path("exploded"),))


def test_pickled_weights_never_run_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Bomb()}, folder / "bomb.pt")
    (folder / "bomb.pth").write_bytes(pickle.dumps(Bomb()))
    torch.save(nn.Conv2d(3, 8, 3), folder / "module.pt")
    for name in ("bomb.pt", "bomb.pth", "module.pt"):
        assert main(["fuse", "net:build", *INPUT, "--weights", name]) == 2
        one_line(capsys, name, "state_dict")
        assert not (folder / "exploded").exists()


def test_a_pt2_is_read_only_when_trusted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bomb.pt2").write_bytes(pickle.dumps(Bomb()))
    assert main(["fuse", "bomb.pt2", *INPUT]) == 2
    one_line(capsys, "bomb.pt2", "--trust")
    assert not (folder / "exploded").exists()
    (folder / "junk.pt2").write_bytes(b"junk")
    assert main(["fuse", "junk.pt2", *INPUT, "--trust"]) == 2
    one_line(capsys, "junk.pt2")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_model_with_weights_is_welded_and_written(
    suffix: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    trained = state()
    file = folder / f"weights{suffix}"
    if suffix == ".pt":  # as trainers write it, from a model spread over devices
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in trained.items()}}, file)
    else:
        save_file(trained, file)
    assert main(["fuse", "net:build", *INPUT, "--weights", str(file), "-o", "out.pt2"]) == 0
    shown = capsys.readouterr()
    assert "certificate" in shown.out
    assert "building" not in shown.out
    x = torch.randn(2, 3, 9, 7)
    import net

    model = net.Net().eval()
    model.load_state_dict(trained)
    torch.testing.assert_close(read_program(folder / "out.pt2", trust=True)(x), model(x))


def test_json_is_one_object_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuse", "net:ready", *INPUT, "--json"]) == 0
    fused = json.loads(capsys.readouterr().out)
    assert fused["before"]["convs"] == 2
    assert fused["after"]["convs"] == 1
    assert fused["certificate"]["twin_error"] <= fused["certificate"]["twin_bound"]
    assert main(["bench", "net:build", *INPUT, "--json", "--seconds", "0.01"]) == 0
    timed = json.loads(capsys.readouterr().out)
    assert [t["engine"] for t in timed["timings"]] == ["eager", "channels_last"]


def test_a_page_shows_the_graph_before_and_after(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuse", "net:build", *INPUT, "--report", "page.html"]) == 0
    assert "written page.html" in capsys.readouterr().out
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page.count('<svg class="graph"') == 2
    assert len(page) < 100_000  # no library where there is no figure


def test_explain_names_the_weld(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuse", "net:build", *INPUT, "--explain"]) == 0
    out = capsys.readouterr().out
    assert "welded" in out
    assert "declined" in out
    assert "norm" in out


def test_several_inputs_of_several_types(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuse", "net:Tokens", "--input", "2x5:int64", "--input", "2x5x2"]) == 0
    assert main(["bench", "net:Tokens", "--input", "2x5:int64", "--input", "2x5x2", "--seconds", "0.01"]) == 0
    assert "channels_last: not timed" in capsys.readouterr().out


def test_example_inputs_are_the_same_each_time_and_not_constant() -> None:
    assert torch.equal(example_input("2x3x4"), example_input("2X3x4"))
    assert example_input("2x3x4").std() > 0.5
    assert set(example_input("50:uint8").tolist()) == {0, 1}
    with pytest.raises(InputError, match="not a shape"):
        example_input("")


def test_a_traceback_is_shown_only_on_demand(folder: Path) -> None:
    command = [sys.executable, "-m", "torchweld.cli", "fuse", "net:fails", *INPUT]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr == (
        "torchweld: net:fails raised ValueError: no such size; it must build the model when called without arguments\n"
    )
    shown = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert "Traceback" in shown.stderr
