"""Benchmarks take turns, record what they ran under, and time the function that they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchweld.core import InputError
from torchweld.deploy import ENGINES, Measured, bench, interleaved
from torchweld.deploy.timing import _measured
from torchweld.fusion import fuse


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()).eval()


def test_contestants_take_turns() -> None:
    calls: list[str] = []
    taken = interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, budget_seconds=0, warmups=1)  # type: ignore[misc]
    assert calls == list("abc") * (len(calls) // 3)
    assert all(m.rounds + m.disturbed == len(calls) // 3 - 1 for m in taken.values())
    assert all(m.quarter_ms <= m.median_ms <= m.three_quarters_ms for m in taken.values())


def test_interrupted_turns_are_left_out_while_enough_others_remain() -> None:
    quick, stopped = [(1.0, False)] * 9, [(9.0, True)] * 20
    assert _measured(quick + stopped) == Measured(1.0, 1.0, 1.0, 9, 20)
    assert _measured(quick[:3] + stopped).median_ms == 9.0


def test_the_result_records_what_it_ran_under() -> None:
    before = torch.get_num_threads()
    result = bench(small(), torch.randn(2, 3, 8, 8), threads=1, budget_seconds=0.02)
    assert [timing.engine for timing in result.timings] == list(ENGINES)
    assert (result.shapes, result.threads) == ("2x3x8x8", 1)
    for timing in result.timings:
        assert timing.ratio == pytest.approx(timing.fused.median_ms / timing.native.median_ms)
        assert timing.speedup == pytest.approx(1 / timing.ratio)
    assert result.to_dict()["timings"][0]["native"]["rounds"] >= 7
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_computes_the_models_function(engine: str) -> None:
    model, x = small(), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(ENGINES[engine](model, (x,), {})(), model(x))
    assert next(model.parameters()).is_contiguous()  # the model itself keeps its layout


def test_channels_last_lays_out_images_and_leaves_the_rest() -> None:
    seen = []

    class Model(nn.Module):
        def forward(self, x: torch.Tensor, flag: bool, mask: torch.Tensor) -> torch.Tensor:
            seen.append((x.is_contiguous(memory_format=torch.channels_last), flag, mask.shape))
            return x

    ENGINES["channels_last"](Model(), (torch.randn(2, 3, 4, 4), True), {"mask": torch.ones(2)})()
    assert seen == [(True, True, torch.Size([2]))]


def test_an_engine_that_does_not_apply_is_skipped_with_its_reason() -> None:
    result = bench(nn.Linear(3, 4).eval(), torch.randn(2, 3), threads=1, budget_seconds=0.01)
    assert [timing.engine for timing in result.timings] == ["eager"]
    assert result.skipped[0].engine == "channels_last"
    assert "images" in result.skipped[0].reason


def test_a_fused_model_is_taken_if_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = small(), torch.randn(1, 3, 8, 8)
    fused = fuse(model, x)
    monkeypatch.setattr("torchweld.deploy.benchmark.fuse", lambda *_: pytest.fail("fused again"))
    assert bench(model, x, fused=fused, threads=1, budget_seconds=0.01).timings


def test_an_unknown_engine_and_a_training_model_are_refused() -> None:
    with pytest.raises(InputError, match="'warp'"):
        bench(small(), torch.randn(1, 3, 8, 8), engines=["warp"])
    with pytest.raises(InputError, match="training mode"):
        bench(small().train(), torch.randn(1, 3, 8, 8))
