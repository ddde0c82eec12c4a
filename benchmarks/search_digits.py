"""Four ways to search at one budget of epochs, on digits: the genetic sampler, TPE and random search.

$ nice -n 5 python benchmarks/search_digits.py --seeds 10

Each seed splits the digits anew: 600 to learn from, 400 held out to judge trials by, 797 that no search sees, on which
the winner of each search is scored once. All ways search the same eight settings of `branched_nano`, 8 epochs a trial,
120 epochs together, from the same seeds, and none is told the recipe's own values. A row is appended for each search;
a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ttest_rel

from torchweld import data
from torchweld.core import written_whole
from torchweld.data import Splits
from torchweld.data.moments import measured
from torchweld.search import Budget, Found, search, space_for
from torchweld.training import Config, recipe, train

HERE = Path(__file__).parent / "results"
FIXED = ("model", "expand")
WAYS = {"ga": ("ga", True), "tpe": ("tpe", True), "random": ("random", True), "random, no pruning": ("random", False)}
TRAIN, HELD_OUT = 600, 400


def config(epochs: int) -> Config:
    return replace(recipe("digits"), model="branched_nano", epochs=epochs, trackers=())


def parts(seed: int) -> Splits:
    whole = data.read("digits", holdout=0)
    order = np.random.default_rng(seed).permutation(len(whole.train))
    kept, held, test = np.split(order, (TRAIN, TRAIN + HELD_OUT))
    train_part = whole.train.part(kept)
    return replace(
        whole,
        train=train_part,
        held_out=whole.train.part(held),
        test=whole.train.part(test),
        scale=measured(train_part, len(whole.classes), None),
    )


def row(way: str, seed: int, budget: int, epochs: int) -> dict[str, object]:
    splits = parts(seed)
    start = config(epochs)
    began = time.process_time()
    sampler, prune = WAYS[way]
    found = search(
        start,
        Budget(epochs=budget),
        space=space_for(start, splits, fixed=FIXED),
        splits=splits,
        sampler=sampler,
        prune=prune,
        first=False,
        seed=seed,
    )
    run = train(found.config, splits=splits)
    assert run.test is not None
    assert run.history[run.best_epoch - 1].score == found.best.score  # the winner's run repeats
    return {
        "way": way,
        "seed": seed,
        "budget": budget,
        "epochs_a_trial": epochs,
        "held_out": found.best.score,
        "held_out_loss": found.best.loss,
        "test": run.test.score,
        "test_loss": run.test.loss,
        "epochs": found.epochs,
        "trials": len(found.trials),
        "complete": found.count("complete"),
        "failed": found.count("failed"),
        "best": best_after(found),
        "values": found.best.values,
        "cpu_seconds": time.process_time() - began,
    }


def best_after(found: Found) -> list[tuple[int, float]]:
    """(epochs spent, held-out score) at each completed trial that was better than all before."""
    curve: list[tuple[int, float]] = []
    spent = 0
    for trial in found.trials:
        spent += trial.epochs
        if trial.state == "complete" and trial.score is not None and (not curve or trial.score > curve[-1][1]):
            curve.append((spent, trial.score))
    return curve


def spread(values: list[float], scale: float = 100) -> str:
    return f"{scale * statistics.mean(values):.2f} ± {scale * statistics.stdev(values):.2f}"


def page(rows: list[dict[str, object]], seeds: int, budget: int, epochs: int) -> str:
    found = {(r["way"], r["seed"]): r for r in rows}
    lines = [
        f"# Search on digits at {budget} epochs",
        "",
        f"`python benchmarks/search_digits.py --seeds {seeds} --budget {budget} --epochs {epochs}`: "
        f"{seeds} seeds, each with its own split (600 to learn from, 400 held out, 797 for the test) and its own "
        f"search. Every way gets {budget} epochs of `branched_nano`, {epochs} a trial, over the same eight "
        "settings; the recipe's own values are not told to any. Mean ± standard deviation over the seeds; accuracies "
        "in percent.",
        "",
        "| way | held out, accuracy | held out, loss | test, accuracy | test, loss | trials | complete | epochs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way in WAYS:
        mine = [found[way, s] for s in range(seeds)]
        column = {n: [float(r[n]) for r in mine] for n in ("held_out", "held_out_loss", "test", "test_loss", "trials",
                                                          "complete", "epochs")}  # fmt: skip
        lines.append(
            f"| {way} | {spread(column['held_out'])} | {spread(column['held_out_loss'], 1)} | "
            f"{spread(column['test'])} | {spread(column['test_loss'], 1)} | {statistics.mean(column['trials']):.1f} | "
            f"{statistics.mean(column['complete']):.1f} | {statistics.mean(column['epochs']):.0f} |"
        )
    lines += [
        "",
        "The genetic sampler against each other way, seed by seed (accuracy in percentage points, positive where it is "
        "better; loss, negative where it is better; ± standard error of the mean; p of a paired t-test, two-sided):",
        "",
        "| against | held out | p | test | p | test loss | p | seeds better, equal, worse on the test |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way in list(WAYS)[1:]:
        cells = []
        for name, scale in (("held_out", 100.0), ("test", 100.0), ("test_loss", 1.0)):
            own, other = ([scale * float(found[w, s][name]) for s in range(seeds)] for w in ("ga", way))
            gain = [a - b for a, b in zip(own, other, strict=True)]
            error = statistics.stdev(gain) / math.sqrt(seeds)
            digits = 2 if scale > 1 else 4
            cells.append(
                f"{statistics.mean(gain):+.{digits}f} ± {error:.{digits}f} | {ttest_rel(own, other).pvalue:.2f}"
            )
            if name == "test":
                signs = [sum(g > 0 for g in gain), sum(g == 0 for g in gain), sum(g < 0 for g in gain)]
        lines.append(f"| {way} | {' | '.join(cells)} | {', '.join(map(str, signs))} |")
    checkpoints = [budget // 4, budget // 2, 3 * budget // 4, budget]
    lines += [
        "",
        "Best held-out accuracy of a completed trial, mean over the seeds, after so many epochs:",
        "",
        "| way | " + " | ".join(map(str, checkpoints)) + " |",
        "| --- " * (len(checkpoints) + 1) + "|",
    ]
    for way in WAYS:
        cells = []
        for epoch in checkpoints:
            reached = [[score for at, score in found[way, s]["best"] if at <= epoch] for s in range(seeds)]  # type: ignore[attr-defined]
            cells.append(f"{100 * statistics.mean(max(r, default=0.0) for r in reached):.2f}")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    seconds = sum(float(r["cpu_seconds"]) for r in found.values())  # type: ignore[arg-type]
    lines += ["", f"{seconds:.0f} s of one core in all; torch {torch.__version__}, one thread.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=HERE / "search_digits")
    arguments = parser.parse_args()
    store = arguments.out.with_suffix(".json")
    rows = json.loads(store.read_text()) if store.exists() else []
    asked = (arguments.budget, arguments.epochs)
    done = {(r["way"], r["seed"]) for r in rows if (r["budget"], r["epochs_a_trial"]) == asked}
    for seed in range(arguments.seeds):
        for way in WAYS:
            if (way, seed) in done:
                continue
            rows.append(row(way, seed, *asked))
            with written_whole(store) as temporary:
                temporary.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
            last = rows[-1]
            print(
                f"seed {seed} {way:<20} held out {last['held_out']:.4f}  test {last['test']:.4f}  "
                f"{last['trials']} trials  {last['cpu_seconds']:.0f} s",
                flush=True,
            )
    kept = [r for r in rows if (r["budget"], r["epochs_a_trial"]) == asked]
    text = page(kept, arguments.seeds, *asked)
    with written_whole(arguments.out.with_suffix(".md")) as temporary:
        temporary.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
