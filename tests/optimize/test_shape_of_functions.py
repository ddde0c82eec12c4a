"""Line searches, critical points, convexity of functions and sets, convergence against theory, pictures, the verb."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from torchweld.cli.app import main
from torchweld.core import InputError
from torchweld.optimize import (
    Ball,
    HalfSpaces,
    Quadratic,
    bowl,
    classify,
    convergence,
    convexity,
    epigraph,
    error_surface,
    gradients_by_depth,
    level_set,
    minimize,
    plot,
    problem,
    set_convexity,
)
from torchweld.optimize.curvature_rules import ATOMS
from torchweld.optimize.evaluation import Ask, Objective
from torchweld.optimize.linesearch import backtracking, exact, wolfe, zoom


def settled(search, f):
    """Run one line search to its end."""
    objective = Objective(f)
    answer = None
    while True:
        try:
            ask = search.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = objective.answer([ask])[0]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.01, 20), st.sampled_from(["wolfe", "zoom", "backtracking"]))
def test_line_searches_meet_their_conditions(seed: int, step: float, kind: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 3, dtype=torch.float64, generator=generator)

    def f(x: Tensor) -> Tensor:
        return (torch.cos(x * a) + 0.3 * (x - b) ** 2 + 0.05 * x**4).sum()

    x = torch.randn(3, dtype=torch.float64, generator=generator)
    at = Objective(f).answer([Ask(x)])[0]
    p = -at.gradient * torch.rand(3, dtype=torch.float64, generator=generator).clamp_min(0.1)
    slope = at.gradient.dot(p).item()
    search = {
        "wolfe": lambda: wolfe(at, p, step, c2=0.4),
        "zoom": lambda: zoom(at, p, step, lambda seen: True),
        "backtracking": lambda: backtracking(at, p, step, what="fg"),
    }[kind]()
    found = settled(search, f)
    assert found is not None
    length, seen = found
    torch.testing.assert_close(seen.x, x + length * p)
    assert seen.value <= at.value + 1e-4 * length * slope
    if kind != "backtracking":
        assert abs(seen.gradient.dot(p).item()) <= 0.4 * abs(slope) * (1 + 1e-12)


def test_the_exact_search_finds_the_minimum_of_the_line() -> None:
    a = bowl(50.0, 4)
    f = lambda x: 0.5 * x @ a @ x  # noqa: E731
    at = Objective(f).answer([Ask(torch.ones(4).double())])[0]
    length, seen = settled(exact(at, -at.gradient), f)
    assert abs(seen.gradient.dot(at.gradient).item()) < 1e-10 * at.gradient.dot(at.gradient).item()
    assert length == pytest.approx((at.gradient @ at.gradient / (at.gradient @ a @ at.gradient)).item())


@pytest.mark.parametrize(
    ("f", "kind"),
    [
        (lambda x: x[0] ** 2 + 3 * x[1] ** 2 + x[0] * x[1], "minimum"),
        (lambda x: -(x**2).sum(), "maximum"),
        (lambda x: x[0] * x[1], "saddle"),
        (lambda x: x[0] ** 4 + x[1] ** 2, "undecided"),
        (lambda x: x[0] ** 3 + x[1] ** 2, "undecided"),
        (lambda x: x[0] ** 3 - x[1] ** 2, "undecided"),
        (lambda x: x[0] + x[1] ** 2, "not critical"),
        (lambda x: 0 * x.sum(), "undecided"),
    ],
)
def test_critical_points(f, kind: str) -> None:
    found = classify(f, [0.0, 0.0])
    assert found.kind == kind
    if kind == "saddle":  # the direction leads down
        assert f(0.1 * found.direction) < f(torch.zeros(2).double())
    assert classify(f, [0.0, 0.0], derivatives="autodiff").kind == kind


def test_the_minimum_that_newton_finds_is_one() -> None:
    p = problem("himmelblau")
    assert classify(p.f, minimize(p.f, p.x0, "newton").x).kind == "minimum"
    with pytest.raises(InputError, match="not finite"):
        classify(lambda x: torch.log(x).sum(), [0.0])


def test_gradients_vanish_with_depth_under_sigmoid_and_not_along_a_residual() -> None:
    plain = gradients_by_depth(torch.sigmoid, (1, 5, 20))
    kept = gradients_by_depth(torch.sigmoid, (1, 5, 20), residual=True)
    assert plain[20] < 1e-8 * plain[1]
    assert kept[20] > 0.1 * kept[1]


SQUARE = [(-2.0, 2.0), (-2.0, 2.0)]


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("2*x1 - x2/4 + 1", SQUARE),
        ("x1**2 + x1*x2 + x2**2", SQUARE),
        ("square(x1 - x2) + x1", SQUARE),
        ("(x1 + x2)**4", SQUARE),
        ("exp(x1**2) + abs(x2)", SQUARE),
        ("max(x1, -2*x2) + softplus(x1)", SQUARE),
        ("-log(x1) + 1/x2", [(0.1, 3), (0.1, 3)]),
        ("-sqrt(x1) - min(x1, x2)", [(0.1, 3), (0.1, 3)]),
        ("x1**3", [(0, 2)]),
        ("x1**1.5 - x1**0.5", [(0, 2)]),
        ("1/x1", [(0.5, 2)]),
        ("-1/x1", [(-2, -0.5)]),
        ("x1**-2", [(-2, -0.5)]),
        ("sin(x1)", [(3.2, 6.2)]),
        ("cos(x1)", [(1.6, 4.7)]),
        ("-sin(x1)", [(0.0, 3.1)]),
        ("tanh(x1)", [(-2, 0)]),
        ("-tanh(x1)", [(0, 2)]),
        ("exp(-log(x1))", [(0.5, 2)]),
    ],
)
def test_certified_convex(text: str, box: list) -> None:
    found = convexity(text, box)
    assert found.verdict == "certified"
    assert found.witness is None


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("x1*x2", SQUARE),
        ("x1**2 + 3*x1*x2 + x2**2", SQUARE),
        ("log(x1)", [(0.1, 3)]),
        ("x1**3", [(-1, 2)]),
        ("sin(x1)", [(0, 6)]),
        ("x1**4 - x1**2", [(-1, 1)]),
        ("exp(-x1**2)", [(-2, 2)]),
        ("tanh(x1)", [(-1, 1)]),
        ("min(x1, x2)", SQUARE),
        ("sqrt(x1)", [(0.0, 4.0)]),
        ("abs(x1) - abs(x2)", SQUARE),
    ],
)
def test_disproved_with_a_witness_that_holds(text: str, box: list) -> None:
    from torchweld.autodiff import parse

    found = convexity(text, box)
    assert found.verdict == "disproved"
    w, f = found.witness, parse(text)
    assert w is not None
    a, b = torch.tensor(w.a).double(), torch.tensor(w.b).double()
    between = a + w.t * (b - a)
    assert f.of_vector(between) > (1 - w.t) * f.of_vector(a) + w.t * f.of_vector(b)
    for point in (w.a, w.b):
        assert all(low - 1e-9 <= v <= high + 1e-9 for v, (low, high) in zip(point, box, strict=True))


FUNCTIONS = (*(name for name in ATOMS if name not in ("ln", "asin", "acos", "log2", "log10")), "sin", "cos")


@settings(max_examples=60)
@given(st.data())
def test_no_certificate_is_ever_wrong(data: st.DataObject) -> None:
    """Expressions drawn at random: what is certified has no counterexample among many samples."""
    from torchweld.autodiff import parse

    def drawn(depth: int) -> str:
        if depth == 0:
            return data.draw(st.sampled_from(["x1", "x2", "0.7", "-1.3", "2"]))
        a = drawn(depth - 1)
        shape = data.draw(st.sampled_from(["f", "+", "-", "*", "/", "**"]))
        if shape == "f":
            name = data.draw(st.sampled_from(FUNCTIONS))
            return f"{name}({a})"
        if shape == "**":
            return f"({a})**{data.draw(st.sampled_from(['2', '3', '-1', '0.5', '4', '1.5', '-2']))}"
        return f"({a}) {shape} ({drawn(depth - 1)})"

    text = f"({drawn(data.draw(st.integers(1, 3)))}) + 0*x1 + 0*x2"
    low = data.draw(st.sampled_from([-1.5, -0.5, 0.25, 1.0]))
    box = [(low, low + 1.3), (0.2, 1.9)]
    f = parse(text)
    if convexity(f, box, samples=10).verdict != "certified":
        return
    generator = torch.Generator().manual_seed(0)
    ends = torch.tensor(box).double()
    low_end, width = ends[:, 0], ends[:, 1] - ends[:, 0]
    a, b = (low_end + width * torch.rand(400, 2, dtype=torch.float64, generator=generator) for _ in "ab")
    each = torch.func.vmap(f.of_vector)
    fa, fb, middle = each(a), each(b), each((a + b) / 2)
    gap = middle - (fa + fb) / 2
    finite = gap.isfinite()
    size = torch.stack([fa.abs(), fb.abs(), middle.abs(), torch.ones(400).double()]).amax(0)
    assert (gap[finite] <= 1e-9 * size[finite]).all(), text


def test_quadratics_and_what_cannot_be_proved() -> None:
    convex = Quadratic(bowl(10.0, 3), torch.ones(3).double(), 2.0)
    assert convexity(convex, [(-1, 1)] * 3).verdict == "certified"
    saddle = Quadratic(torch.diag(torch.tensor([1.0, -1.0]).double()), torch.zeros(2).double())
    assert convexity(saddle, SQUARE).verdict == "disproved"
    open_question = convexity(lambda x: torch.logsumexp(x, 0), SQUARE)
    assert open_question.verdict == "no counterexample"
    assert "no proof" in open_question.reason
    with pytest.raises(InputError, match="box"):
        convexity("x1", [(1, 0)])
    with pytest.raises(InputError, match="2 variables"):
        convexity("x1 + x2", [(0, 1)])


def test_sets_and_what_ties_them_to_functions() -> None:
    ring = set_convexity(lambda x: (x.norm() < 1) & (x.norm() > 0.5), [(-1, 1), (-1, 1)])
    assert ring.verdict == "disproved"
    assert ring.witness is not None
    assert not 0.5 < math.hypot(*ring.witness.between) < 1
    assert set_convexity(Ball(torch.zeros(2).double(), 1.0), SQUARE).verdict == "certified"
    assert set_convexity(HalfSpaces(torch.eye(2).double(), torch.ones(2).double()), SQUARE).verdict == "certified"
    box = [(-1.0, 1.0), (-0.5, 2.0)]
    assert set_convexity(epigraph(lambda x: x[0] ** 2), box).verdict == "no counterexample"
    assert set_convexity(epigraph(lambda x: x.abs().sqrt().sum()), box).verdict == "disproved"
    # convex level sets do not make a convex function
    root = lambda x: x.abs().sqrt().sum()  # noqa: E731
    assert set_convexity(level_set(root, 0.8), [(-1.0, 1.0)]).verdict == "no counterexample"
    assert convexity(root, [(-1.0, 1.0)]).verdict == "disproved"
    with pytest.raises(InputError, match="belong to the set"):
        set_convexity(lambda x: x.norm() > 99, SQUARE)


def test_convergence_follows_the_condition_number() -> None:
    rates = {(r.method, r.condition): r for r in convergence([2.0, 10.0, 100.0])}
    for condition in (2.0, 10.0, 100.0):
        gd = rates["gd", condition]
        assert gd.measured == pytest.approx(gd.theory, abs=0.03)
        assert rates["gd-exact", condition].measured <= gd.theory + 0.01
        assert rates["newton", condition].iterations == 1
    assert rates["momentum", 100.0].measured < 0.9 < rates["gd", 100.0].measured
    assert rates["gd", 100.0].iterations > 8 * rates["gd", 10.0].iterations
    with pytest.raises(InputError, match="adam"):
        convergence([2.0], ["adam"])


def test_error_surface_of_a_network() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x, y = torch.randn(16, 2), torch.randn(16, 1)
    loss = lambda p: ((torch.func.functional_call(net, p, (x,)) - y) ** 2).mean()  # noqa: E731
    made = error_surface(loss, dict(net.named_parameters()), points=7, seed=3)
    here = ((net(x) - y) ** 2).mean().item()
    assert made.losses[3, 3].item() == pytest.approx(here, rel=1e-6)
    assert made.losses.unique().numel() > 40
    again = error_surface(loss, dict(net.named_parameters()), points=7, seed=3)
    assert torch.equal(made.losses, again.losses)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    p = problem("rosenbrock")
    runs = [minimize(p.f, p.x0, m, max_iterations=30) for m in ("newton", "gd-backtracking")]
    plot.contours(p.f, runs, tmp_path / "a.png")
    plot.value_against_evaluations(runs, tmp_path / "b.svg")
    f = lambda x: x * torch.cos(x)  # noqa: E731
    plot.steps_on_a_curve(f, [minimize(f, 3.0, "newton")], tmp_path / "c.png")
    plot.rates(convergence([2.0, 5.0]), tmp_path / "d.png")
    plot.surface(error_surface(lambda q: (q["w"] ** 2).sum(), {"w": torch.ones(2, 2)}, points=5), tmp_path / "e.png")
    for name in "acde":
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert len(picture.convert("RGB").resize((60, 40)).getcolors(2400) or []) > 20
    assert "<svg" in (tmp_path / "b.svg").read_text()
    with pytest.raises(InputError, match="two variables"):
        plot.contours(f, [minimize(f, 3.0, "newton")], tmp_path / "f.png")
    with pytest.raises(InputError, match=r"\.gif"):
        plot.rates(convergence([2.0]), tmp_path / "f.gif")


def test_the_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    words = ["minimize", "rosenbrock", "--method", "newton,cg,gd", "--learning-rate", "0.001", "--plot", str(picture)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "newton" in out
    assert "minimum" in out
    assert "gd stopped short: 1000 iterations were made" in out
    assert picture.stat().st_size > 5000
    assert main(["minimize", "(x1-3)**2 + x2**4", "x1=0", "x2=1", "--method", "lbfgs", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["results"][0]["x"][0] == pytest.approx(3, abs=1e-3)
    assert main(["minimize", "cos(x)", "x=1", "--method", "newton", "--plot", str(tmp_path / "one.svg")]) == 0
    assert main(["minimize", "wood", "--method", "newton,lbfgs", "--plot", str(tmp_path / "four.svg")]) == 0
    capsys.readouterr()
    for bad, names in (
        (["nosuch"], "rosenbrock"),
        (["rosenbrock", "x7=1"], "x7"),
        (["x1**2"], "x1"),
        (["rosenbrock", "--method", "warp"], "warp"),
        (["rosenbrock", "--plot", str(tmp_path / "a.gif")], "gif"),
    ):
        assert main(["minimize", *bad]) == 2
        error = capsys.readouterr().err
        assert names in error
        assert error.count("\n") == 1
