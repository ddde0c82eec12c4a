"""The fused module afterwards: copied, pickled, cast, moved in memory, trained, exported, run without torchweld."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion import Fused

from .agreement import EXACT, assert_agree, noise, randomised


class Small(nn.Module):
    """Branches, a norm that cannot be folded, an attention of sorts, a head: something of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.wide, self.narrow = (nn.Sequential(nn.Conv2d(8, 8, k, 1, k // 2), nn.BatchNorm2d(8)) for k in (3, 1))
        self.skip = nn.BatchNorm2d(8)
        self.before = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8), nn.ReLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(8), nn.Dropout(0.1), nn.Linear(8, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.before(self.wide(x) + self.narrow(x) + self.skip(x))
        return self.head(x * self.gate(x))


@pytest.fixture(scope="module")
def fused() -> Fused:
    torch.manual_seed(0)
    return tw.fuse(randomised(Small()), noise(1, 3, 16, 12, dtype=torch.float32))


X = noise(3, 3, 15, 17, dtype=torch.float32)


def _ran(module: Any, x: Tensor = X) -> Tensor:
    with torch.no_grad():
        return module(x)


def test_copies_and_pickles_are_the_same_function(fused: Fused) -> None:
    for module in (copy.deepcopy(fused.module), pickle.loads(pickle.dumps(fused.module))):
        assert isinstance(module, torch.fx.GraphModule)
        assert torch.equal(_ran(module), _ran(fused.module))
        assert list(module.state_dict()) == list(fused.module.state_dict())


def test_it_is_made_of_stock_modules_under_the_original_names(fused: Fused) -> None:
    original = dict(Small().named_modules())
    for name, module in fused.module.named_modules():
        assert type(module).__module__.startswith("torch."), name
        if name and list(module.parameters(recurse=False)):
            assert name in original
    assert set(fused.recipes) >= {name for name, _ in fused.module.named_parameters()}


def test_other_dtypes_and_layouts(fused: Fused) -> None:
    expected = _ran(copy.deepcopy(fused.module).double(), X.double())
    half = _ran(copy.deepcopy(fused.module).to(torch.bfloat16), X.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert relative_error(half, expected) <= 16 * torch.finfo(torch.bfloat16).eps
    last = copy.deepcopy(fused.module).to(memory_format=torch.channels_last)
    actual = _ran(last, X.to(memory_format=torch.channels_last))
    assert relative_error(actual, expected) <= 64 * torch.finfo(torch.float32).eps
    assert relative_error(_ran(fused.module), expected) <= 64 * torch.finfo(torch.float32).eps


def test_a_training_step_moves_every_parameter(fused: Fused) -> None:
    module = copy.deepcopy(fused.module).train()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(module(X), torch.tensor([0, 2, 4]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for name, p in module.named_parameters():
        assert p.grad is not None, name
        assert not torch.equal(p, before[name]), name


def test_gradients_of_the_input_are_the_originals() -> None:
    torch.manual_seed(1)
    model, x = randomised(Small()).double(), noise(2, 3, 9, 11).requires_grad_()
    module = tw.fuse(model, x.detach()).module
    mine, theirs = (torch.autograd.grad(m(x).square().sum(), x)[0] for m in (module, model))
    assert relative_error(mine, theirs) <= EXACT


def test_it_can_be_exported_traced_and_fused_again(fused: Fused) -> None:
    dynamic = {"x": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}}
    program = torch.export.export(fused.module, (X,), dynamic_shapes=dynamic)
    assert torch.equal(_ran(program.module(), X), _ran(fused.module))
    assert torch.equal(_ran(torch.jit.trace(fused.module, X, check_trace=False)), _ran(fused.module))
    assert tw.fuse(fused.module, *fused.example[0]).report.after == fused.report.after


def test_it_runs_on_the_meta_device(fused: Fused) -> None:
    assert copy.deepcopy(fused.module).to("meta")(X.to("meta")).shape == (3, 5)


ALONE = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchweld":
            raise ImportError(name)

sys.meta_path.insert(0, Block())
sys.path[:] = [p for p in sys.path if p]
import torch

module = torch.export.load(sys.argv[1]).module()
x, expected = torch.load(sys.argv[2], weights_only=True)
assert torch.equal(module(x), expected)
graph = torch.load(sys.argv[3], weights_only=False)
assert torch.equal(graph(x), expected)
assert not any(name.split(".")[0] == "torchweld" for name in sys.modules)
print("equal")
"""


def test_the_saved_model_runs_where_torchweld_is_not(fused: Fused, tmp_path: Path) -> None:
    fused.save(tmp_path / "fused.pt2")
    torch.save(fused.module, tmp_path / "graph.pt")
    torch.save((X, _ran(fused.module)), tmp_path / "expected.pt")
    files = [str(tmp_path / name) for name in ("fused.pt2", "expected.pt", "graph.pt")]
    done = subprocess.run([sys.executable, "-c", ALONE, *files], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "equal\n", done.stderr


def test_a_failed_save_leaves_nothing_and_keeps_what_was_there(
    fused: Fused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "fused.pt2"
    target.write_bytes(b"older")

    def broken(program: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch.export, "save", broken)
    with pytest.raises(OSError, match="no space"):
        fused.save(target)
    assert [p.name for p in tmp_path.iterdir()] == ["fused.pt2"]
    assert target.read_bytes() == b"older"


def test_it_is_called_as_the_module_is(fused: Fused) -> None:
    assert torch.equal(fused(X), fused.module(X))
    assert torch.equal(fused(x=X), fused.module(X))
    assert_agree(fused.module, fused, X)
