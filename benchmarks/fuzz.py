"""Random networks, welded and compared with themselves: stops at the smallest one that differs.

python benchmarks/fuzz.py --examples 10000 --seed 0
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fusion.graphs import check, draw_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=12, help="operators in a network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seen: Counter[str] = Counter()
    start = told = time.monotonic()

    @seed(options.seed)
    @settings(max_examples=options.examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        nonlocal told
        fused = check(*draw_network(data.draw, options.most))
        seen["networks"] += 1
        if fused is None:
            seen["refused at capture"] += 1
        else:
            seen["operators before"] += fused.report.before.operators
            seen["operators after"] += fused.report.after.operators
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(dict(seen), flush=True)

    run()
    print(f"all the same function: {dict(seen)} in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
