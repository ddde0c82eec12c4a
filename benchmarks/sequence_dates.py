"""Dates read by a CNN, an RNN and a Transformer: exact match on held-out days, and what learning it cost.

One thread. Seconds are wall clock of training alone, CPU seconds the processor time of it, which other work on the
machine does not lengthen much. Arguments: the number of seeds (3).

    OMP_NUM_THREADS=1 python benchmarks/sequence_dates.py > benchmarks/results/sequence_dates.md
"""

from __future__ import annotations

import os
import platform
import statistics
import sys

import torch

from torchweld.models.sequence import cores
from torchweld.training.sequences import DatesConfig, DatesRun, exact_match, learn_dates

BEAM = 4


def row(run: DatesRun) -> str:
    parameters = sum(p.numel() for p in run.model.parameters())
    beam = exact_match(run.model, run.config.seed, run.config.examined, width=BEAM)
    cells = (
        run.config.core,
        str(run.config.seed),
        f"{parameters:,}",
        f"{run.exact:.2%}",
        f"{beam:.2%}",
        f"{run.seconds:.1f}",
        f"{run.cpu_seconds:.1f}",
        f"{statistics.fmean(loss for _, loss in run.losses[-50:]):.4f}",
    )
    return f"| {' | '.join(cells)} |"


def main(seeds: int) -> None:
    config = DatesConfig()
    print("# Dates to ISO 8601\n")
    print("`OMP_NUM_THREADS=1 python benchmarks/sequence_dates.py`\n")
    print(
        f"{config.steps} steps of {config.batch} dates, width {config.features}, {config.layers} + {config.layers} "
        f"layers, one thread; {config.examined} held-out dates for each seed, which decides weights, training dates "
        f"and which of the held-out days are asked. torch {torch.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores with other work to do (load {os.getloadavg()[0]:.1f} at the start).\n"
    )
    print(f"| core | seed | parameters | exact, greedy | exact, beam {BEAM} | seconds | CPU seconds | last loss |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    runs = []
    for seed in range(seeds):
        for core in cores():
            runs.append(learn_dates(DatesConfig(core, seed=seed)))
            print(row(runs[-1]), flush=True)
    print()
    for core in cores():
        own = [run for run in runs if run.config.core == core]
        worst, slowest = min(run.exact for run in own), max(run.cpu_seconds for run in own)
        print(f"- {core}: at least {worst:.2%} exact, at most {slowest:.0f} CPU seconds over {seeds} seeds.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
