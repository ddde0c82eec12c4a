"""The measurements of the sequence cores, and measurements of the mistaken forms that must come out otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from torchweld.core import InputError
from torchweld.diagnosis import SequenceComparison, compare_sequences, draw_comparison
from torchweld.diagnosis import sequence as measured
from torchweld.diagnosis.sequence.cost import cost_findings
from torchweld.diagnosis.sequence.positions import position_findings
from torchweld.models.sequence import Sizes, cores, mixer

SIZES = Sizes(1, 1, features=8, heads=2)


@pytest.fixture(scope="module")
def made() -> SequenceComparison:
    return compare_sequences()


def test_flops_are_those_of_the_formulas() -> None:
    n, d, k = 50, 8, SIZES.kernel
    counted = {core: measured.flops_of(mixer(core, SIZES, causal=False), n, d) for core in cores()}
    assert counted["cnn"] == 2 * n * k * d * 2 * d
    assert counted["gru"] == 2 * 2 * n * 3 * (d // 2) * (d + d // 2)
    assert counted["transformer"] == 2 * (4 * n * d * d + 2 * n * n * d)


def test_the_fused_kernel_would_hide_the_square() -> None:
    """The mistaken count, without the written-out form: attention would seem linear."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        mixer("transformer", SIZES, causal=False)(torch.zeros(1, 50, 8))
    assert counter.get_total_flops() == 2 * 4 * 50 * 8 * 8


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_an_exponent_is_fitted_at_the_longest(power: float) -> None:
    lengths = [2, 3, 64, 128, 256]
    assert measured.exponent(lengths, [9, 1, *(5 * n**power for n in lengths[2:])]) == pytest.approx(power, abs=1e-6)


@pytest.mark.parametrize(("lengths", "values"), [([1], [1.0]), ([1, 2], [1.0, 0.0]), ([1, 2], [1.0])])
def test_nothing_is_fitted_to_nothing(lengths: list[int], values: list[float]) -> None:
    with pytest.raises(InputError, match="exponent"):
        measured.exponent(lengths, values)


def test_recurrence_waits_and_the_others_do_not() -> None:
    steps = {
        core: [measured.serial_steps(mixer(core, SIZES, causal=False), n) for n in (5, 10, 20)] for core in cores()
    }
    assert steps["gru"][2] - steps["gru"][1] == 2 * (steps["gru"][1] - steps["gru"][0]) > 0
    for core in ("cnn", "transformer"):
        assert len(set(steps[core])) == 1


def test_serial_steps_of_a_chain_are_its_length() -> None:
    class Chain(nn.Module):
        features = 8

        def forward(self, x):
            for _ in range(x.shape[1]):
                x = x + x.sin().cos()  # the way through sin and cos is the longer: 3 a turn
            return x, ()

    assert measured.serial_steps(Chain(), 7) == 3 * 7 + 1


def test_every_claim_about_every_core_has_a_finding(made: SequenceComparison) -> None:
    found = {(f.about, f.core) for f in made.findings}
    assert len(found) == len(made.findings)
    for about in ("cost", "serial steps", "path length", "reach"):
        assert {core for a, core in found if a == about} == set(cores())
    for about in ("order", "relative position", "absolute position"):
        assert {core for a, core in found if a == about} == {v.name for v in measured.VARIANTS}


def test_what_does_not_depend_on_the_clock_comes_out_as_theory_says(made: SequenceComparison) -> None:
    verdicts = {(f.about, f.core): f.verdict for f in made.findings if f.about != "cost"}
    in_part = {("absolute position", "cnn"), ("absolute position", "gru")}  # at the border, and near the start, alone
    for key, verdict in verdicts.items():
        assert verdict == ("holds in part" if key in in_part else "holds"), key
    flops = {g.core: g.exponent for g in made.growths if g.what == "FLOPs"}
    assert flops == pytest.approx({"cnn": 1, "gru": 1, "transformer": 2}, abs=0.1)


def test_attention_is_blind_without_positions_and_sees_with_them(made: SequenceComparison) -> None:
    by = {r.variant: r for r in made.responses}
    bare, placed = by["transformer, bare"], by["transformer"]
    for what in ("order", "relative", "absolute_middle", "absolute_border"):
        assert getattr(bare, what) < 1e-13
        assert getattr(placed, what) > 0.1


def test_a_convolution_sees_places_at_the_border_alone(made: SequenceComparison) -> None:
    cnn = next(r for r in made.responses if r.variant == "cnn")
    assert cnn.absolute_middle < 1e-13
    assert cnn.absolute_border > 0.01
    assert cnn.relative > 0.01


def test_a_convolution_reaches_layer_by_layer(made: SequenceComparison) -> None:
    by = {r.core: r for r in made.reaches}
    assert [g > 0 for g in by["cnn"].by_depth] == [depth >= 8 for depth in by["cnn"].depths]
    assert all(g > 0 for core in ("gru", "transformer") for g in by[core].by_depth)
    assert [g > 0 for g in by["cnn"].by_distance] == [d <= 4 for d in by["cnn"].distances]


def test_all_but_time_is_a_function_of_the_seed(made: SequenceComparison) -> None:
    assert measured.responses(0) == made.responses
    assert measured.reach("gru", 0) == made.reaches[1]
    assert measured.responses(1) != made.responses


def test_verdicts_follow_the_figures() -> None:
    """A claim that fails says so: exponents and answers swapped between the cores."""
    lengths, cubed = (1, 2, 4), (1.0, 8.0, 64.0)
    grown = [
        measured.Growth(what, core, lengths, cubed, 3.0)
        for what in ("FLOPs", "seconds", "serial steps")
        for core in cores()
    ]
    assert {f.verdict for f in cost_findings(grown)} == {"does not hold here"}
    blind = [measured.Response(v.name, 0.0, 0.0, 0.0, 0.0) for v in measured.VARIANTS]
    verdicts = {(f.core, f.about): f.verdict for f in position_findings(blind)}
    assert verdicts["gru", "order"] == "does not hold here"
    assert verdicts["cnn", "absolute position"] == "holds"
    assert verdicts["transformer, bare", "order"] == "holds"
    faint = [measured.Response(v.name, 1e-5, 1e-5, 1.0, 1e-5) for v in measured.VARIANTS]
    verdicts = {(f.core, f.about): f.verdict for f in position_findings(faint)}
    assert verdicts["gru", "order"] == "holds in part"
    assert verdicts["transformer", "absolute position"] == "holds in part"
    assert verdicts["transformer, bare", "order"] == "does not hold here"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_is_written_whole(made: SequenceComparison, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"sequence{suffix}"
    draw_comparison(made, target)
    assert target.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_other_formats_are_refused(made: SequenceComparison, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png"):
        draw_comparison(made, tmp_path / "picture.bmp")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed=-1"):
        compare_sequences(-1)
