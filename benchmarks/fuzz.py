"""Random networks, welded and compared with themselves: stops at the smallest one that differs.

Works in chunks, each from a seed of its own, and writes the sums after every chunk, so a run that was stopped goes on.

python benchmarks/fuzz.py --examples 10000 --seed 0
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fusion.graphs import check, draw_network

RESULTS = Path(__file__).parent / "results"
CHUNK = 100  # networks


def run_chunk(examples: int, seed_number: int, most: int) -> tuple[Counter[str], float]:
    """What came of so many networks, and the CPU seconds; raises with the smallest that differs."""
    seen: Counter[str] = Counter()
    began = time.process_time()

    @seed(seed_number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        fused = check(*draw_network(data.draw, most))
        seen["networks"] += 1
        if fused is None:
            seen["refused at capture"] += 1
        else:
            seen["operators before"] += fused.report.before.operators
            seen["operators after"] += fused.report.after.operators

    run()
    return seen, time.process_time() - began


def written(options: argparse.Namespace, done: dict[str, float], file: Path) -> None:
    """The sums as JSON, to go on from, and as a table."""
    file.write_text(json.dumps({"seed": options.seed, "most": options.most, **done}, indent=1) + "\n")
    rows = [
        (
            "random networks",
            f"{done['networks']:.0f} of 3 to {options.most} operators, float64, three input sizes each",
        ),
        ("different from the original", f"0 (bound {1e-10:.0e} relative)"),
        ("refused at capture", f"{done['refused at capture']:.0f}"),
        ("operators", f"{done['operators before']:.0f} before, {done['operators after']:.0f} after"),
        ("seed", f"{options.seed}, chunks of {CHUNK}"),
        ("CPU time", f"{done['CPU seconds']:.0f} s on one thread, torch {torch.__version__}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    command = f"python benchmarks/fuzz.py --examples {options.examples} --seed {options.seed}"
    file.with_suffix(".md").write_text(f"# Random networks\n\n`{command}`\n\n| | |\n| --- | --- |\n{table}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=12, help="operators in a network")
    parser.add_argument("--results", type=Path, default=RESULTS / "fuzz.json")
    parser.add_argument("--fresh", action="store_true", help="do not go on from an earlier run")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes, of one thread each")
    parser.add_argument("--cpu-seconds", type=float, default=float("inf"), help="stop after the chunk that reaches it")
    options = parser.parse_args()
    names = ("chunks", "networks", "refused at capture", "operators before", "operators after", "CPU seconds")
    done: dict[str, float] = dict.fromkeys(names, 0)
    if options.results.exists() and not options.fresh:
        before = json.loads(options.results.read_text())
        if (before["seed"], before["most"]) == (options.seed, options.most):
            done = {name: before[name] for name in names}
    wanted = range(int(done["chunks"]), math.ceil(options.examples / CHUNK))
    seeds = [10_000 * options.seed + chunk for chunk in wanted]
    chunk_of = partial(run_chunk, min(CHUNK, options.examples), most=options.most)
    spent = 0.0
    with ProcessPoolExecutor(options.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for seen, seconds in pool.map(chunk_of, seeds):
            for name, count in seen.items():
                done[name] += count
            done["chunks"] += 1
            done["CPU seconds"] += seconds
            spent += seconds
            written(options, done, options.results)
            print(
                f"{done['networks']:.0f} networks, all the same function, {done['CPU seconds']:.0f} CPU s", flush=True
            )
            if spent >= options.cpu_seconds:
                pool.shutdown(cancel_futures=True)
                break


if __name__ == "__main__":
    main()
