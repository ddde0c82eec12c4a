"""Kills a run at random moments, again and again, and compares what comes of it with a run that was left alone.

$ python benchmarks/kill.py --kills 100

Each time the process has written a checkpoint, a random moment (0 to 0.25 s) passes and SIGKILL ends it. After each
kill the newest checkpoint must load; at the end no temporary may be left and weights, optimiser, running mean, metrics
and history must equal the straight run's to the bit.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.training.runs import EVERYTHING, KILLED, assert_same, final_state, wait_for_a_new_step

from torchweld.core import written_whole
from torchweld.training import Shelf, train

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    # Long enough that no run ends before its kills: each start does some 10 to 20 of its steps.
    config = EVERYTHING.__class__(
        **{**EVERYTHING.__dict__, "epochs": max(6, arguments.kills * 2), "save_steps": 1, "keep": 3}
    )
    with tempfile.TemporaryDirectory() as temporary:
        straight, folder = Path(temporary) / "straight", Path(temporary) / "killed"
        train(config, straight)
        command = [sys.executable, "-c", KILLED, str(folder), str(straight / "config.json")]
        loadable, orphans, began = 0, 0, time.perf_counter()
        for _ in track(range(arguments.kills), "killing"):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for_a_new_step(folder, process, moments.uniform(0.0, 0.25))
            process.kill()
            process.wait()
            orphans += len(list(folder.rglob(".*")))
            loadable += Shelf(folder / "checkpoints").latest() is not None
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        left = len(list(folder.rglob(".*")))
        assert_same(final_state(folder), final_state(straight))
    text = f"""# {arguments.kills} kills

`python benchmarks/kill.py --kills {arguments.kills} --seed {arguments.seed}`: a run of {config.epochs} epochs that
writes a checkpoint after every step, with dropout, augmentation, mixup, accumulation and a running mean of the weights.

| | |
| --- | --- |
| kills | {arguments.kills} |
| newest checkpoint loadable after the kill | {loadable} |
| temporaries that kills left behind | {orphans} |
| temporaries left after the last start | {left} |
| weights, optimiser, running mean, metrics against the straight run | equal to the bit |
| seconds | {time.perf_counter() - began:.0f} |
"""
    with written_whole(HERE / "results" / "kill.md") as target:
        target.write_text(text, encoding="utf-8")
    print(text)
    if loadable < arguments.kills or left:
        raise SystemExit("a checkpoint was lost, or a temporary left")


if __name__ == "__main__":
    main()
