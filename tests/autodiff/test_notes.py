"""The numbers of the notes (R21 to R23) and what `trace` makes of one recording."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld import autodiff as ad
from torchweld.cli.app import main
from torchweld.core import InputError

NOTES = "log(x1) + x1*x2 - sin(x2)"


def test_dual_numbers_of_the_notes() -> None:
    x = torch.tensor(2.0, dtype=torch.float64)
    value, slope = ad.jvp(lambda x: x**2 + 2 * x, (x,), (torch.ones_like(x),))
    assert (value.item(), slope.item()) == (8, 6)


def test_traces_of_the_notes() -> None:
    made = ad.trace(NOTES, {"x1": 2, "x2": 5})
    assert made.output == pytest.approx(11.652071, abs=5e-7)
    assert made.gradient["x1"] == pytest.approx(5.5, abs=1e-12)
    assert made.gradient["x2"] == pytest.approx(1.716338, abs=5e-7)
    assert made.gradient["x2"] == pytest.approx(2 - math.cos(5), rel=1e-15)
    assert [s.operation for s in made.steps] == [
        "input", "input", "log(x1)", "x1 * x2", "v1 + v2", "sin(x2)", "v3 - v4",
    ]  # fmt: skip
    end = made.steps[-1]
    assert end.tangents == pytest.approx(made.gradient, rel=1e-14)


def test_forward_reverse_and_differences_agree_in_every_step() -> None:
    made = ad.trace("exp(x*y)/(1 + z**2) + max(x, y) * atan(z)", {"x": 0.3, "y": -1.2, "z": 0.7})
    for step in made.steps:
        for key in made.directions:
            assert step.tangents[key] == pytest.approx(step.tangent_differences[key], rel=1e-7, abs=1e-9)
        assert step.adjoint == pytest.approx(step.adjoint_difference, rel=1e-7, abs=1e-9)


def test_adjoints_accumulate_part_by_part() -> None:
    made = ad.trace(NOTES, {"x1": 2, "x2": 5})
    parts = [p for p in made.pulls if p.target == "x2"]
    assert len(parts) == 2
    assert sum(p.part for p in parts) == pytest.approx(made.gradient["x2"], rel=1e-15)
    assert parts[-1].total == made.gradient["x2"]


def test_trace_of_a_module_shows_arrays_by_shape() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    x = torch.randn(5, 3).double()
    made = ad.trace(net, x)
    torch.testing.assert_close(
        torch.tensor(made.gradient["input"]).double(), torch.func.grad(lambda x: net(x).sum())(x)
    )
    text = ad.tables(made)
    assert "linear(input, [4x3], [4])" in text
    assert "(5x2) norm" in text


def test_the_drawing_is_a_graph_of_the_recording(tmp_path: Path) -> None:
    made = ad.trace("a<b".replace("<", "*") + " + sin(a)", {"a": 2, "b": 5})
    ad.draw(made, tmp_path / "graph.svg")
    root = ET.parse(tmp_path / "graph.svg").getroot()
    texts = ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]
    boxes = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.get("rx")]
    assert len(boxes) == len(made.steps)
    assert "v1 = a * b" in texts
    assert f"adjoint {5 + math.cos(2):.4f}" in texts


def test_a_direction_of_ones_own() -> None:
    made = ad.trace("x1*x2", {"x1": 3, "x2": 4}, direction={"x1": 2, "x2": -1})
    assert made.steps[-1].tangents == {"direction": 2 * 4 - 3}
    with pytest.raises(InputError, match="x9"):
        ad.trace("x1*x2", {"x1": 3, "x2": 4}, direction={"x9": 2})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("__import__('os').system('id')", "__import__"),
        ("x.real", "x.real"),
        ("(lambda: 1)()", "not allowed|unknown function"),
        ("[x for x in y]", "not allowed"),
        ("x if y else z", "not allowed"),
        ("open(x)", "unknown function open"),
        ("x1 +", "no expression"),
        ("'a'*9", "not allowed"),
        ("True", "not allowed"),
        ("sin", "write sin"),
        ("sin(x, y)", "takes 1 argument,"),
        ("max(*x)", "takes 2 arguments"),
        ("log(x=2)", "unknown function|not allowed"),
        ("x" * 3000, "longer"),
        ("(" * 500 + "x" + ")" * 500, "no expression"),
        ("", "no expression"),
    ],
)
def test_only_the_whitelist_is_read(text: str, names: str) -> None:
    with pytest.raises(InputError, match=names):
        ad.parse(text)


def test_numbers_cannot_grow_without_bound() -> None:
    assert ad.parse("9**9**9**9 + x")(1).item() == math.inf


@given(st.floats(-3, 3), st.floats(0.1, 3))
def test_expressions_mean_what_python_means(x: float, y: float) -> None:
    got = ad.parse("-x**2 + 3*x/y - 2**-x * sqrt(y) + abs(x) + log(y)/e")(x=x, y=y).item()
    assert got == pytest.approx(
        -(x**2) + 3 * x / y - 2**-x * math.sqrt(y) + abs(x) + math.log(y) / math.e, rel=1e-12, abs=1e-12
    )


def test_the_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["trace", NOTES, "x1=2", "x2=5", "--svg", str(tmp_path / "g.svg")]) == 0
    out = capsys.readouterr().out
    assert "adj x1       5.500000     5.500000" in out
    assert "adj x2       1.716338     1.716338" in out
    assert "11.652071" in out
    assert (tmp_path / "g.svg").stat().st_size > 1000
    assert main(["trace", NOTES, "x1=2", "x2=5", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["gradient"]["x1"] == 5.5
    for words, names in (
        ([NOTES, "x1=2"], "x2"),
        ([NOTES, "x1=2", "x2=five"], "x2=five"),
        ([NOTES, "x1=2", "x1=3"], "twice"),
        (["3 + 4", "x=1"], "unknown variable x"),
        (["log(x", "x=1"], "never closed"),
    ):
        assert main(["trace", *words]) == 2
        error = capsys.readouterr().err
        assert names in error
        assert error.count("\n") == 1
