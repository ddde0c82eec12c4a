"""Results as tables for the terminal."""

from __future__ import annotations

from rich.table import Table

from torchweld.cli.output import table
from torchweld.deploy import BenchResult, StageTable
from torchweld.fusion import Report


def counts_table(report: Report) -> Table:
    """Sizes of a model before and after welding."""
    before, after = report.before, report.after
    names = ("convs", "norms", "linears", "operators", "parameters", "flops")
    rows = [(name.replace("flops", "FLOPs"), *(f"{getattr(c, name):,}" for c in (before, after))) for name in names]
    return table("welding", ("", "before", "after"), rows)


def bench_table(result: BenchResult) -> Table:
    """Latency of native and fused by engine."""
    load = "" if result.load_before is None else f", load {result.load_before:.1f}"
    title = f"latency  {result.shapes}, {result.threads} thread{'s' * (result.threads > 1)}{load}"
    rows = [
        (
            timing.engine,
            f"{timing.native.median_ms:.3f}",
            f"{timing.fused.median_ms:.3f}",
            f"{timing.ratio:.2f}",
            f"{timing.speedup:.2f}x",
            str(timing.native.rounds),
        )
        for timing in result.timings
    ]
    return table(title, ("engine", "native ms", "fused ms", "fused/native", "speed-up", "rounds"), rows)


def stage_table(stages: StageTable) -> Table:
    """The three stages of fusing one residual block, 80 columns wide at most."""
    load = "" if stages.load_before is None else f", load {stages.load_before:.1f}"
    title = f"one residual block in three stages  median ms, {stages.threads} thread{'s' * (stages.threads > 1)}{load}"
    rows = []
    for row in stages.rows:
        times = (f"{ms:.2f}" for ms in (row.native_ms, row.three_ms, row.one_ms))
        errors = (f"{error:.1e}" for error in (row.three_error, row.one_error))
        rows.append((str(row.setting), *times, f"{row.speedup:.2f}x", *errors))
    head = ("input, kernel", "native", "3 convs", "1 conv", "faster", "error 3", "error 1")
    return table(title, head, rows)
