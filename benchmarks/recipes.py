"""What the recipes reach, and in what time: aerial fields (masks) and Fashion-MNIST (classes).

    python benchmarks/recipes.py fields --seeds 0 1 2 --threads 2
    python benchmarks/recipes.py fashion --recipes fashion fashion_quick fashion_long
    python benchmarks/recipes.py fashion --set data_pruning=0

Each run is the command that a user would give, in a process of its own; minutes are of training and evaluation
together, by the wall clock. The data folder is the one that TORCHWELD_DATA names, or `../shared/data` beside the
project. Rows are kept as JSON and not run again; remove `results/recipes.jsonl` to begin anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from torchweld.core import written_whole

HERE = Path(__file__).parent
ROWS = HERE / "results" / "recipes.jsonl"
DATA = Path(os.environ.get("TORCHWELD_DATA", HERE.parents[1] / "shared" / "data")).resolve()


def words(what: str, recipe: str) -> list[str]:
    """The command's words for a data set and a recipe."""
    if what == "fields":
        folder = DATA / "naip_fields"
        return [str(folder / "train"), "--val", str(folder / "test"), "--task", "segment", "--recipe", recipe]
    return [str(DATA / "fashion_mnist"), "--recipe", recipe]


def run(what: str, recipe: str, changes: list[str], seed: int, threads: int) -> dict[str, Any]:
    """One run, and what came of it."""
    with tempfile.TemporaryDirectory() as temporary:
        fixed = [f"seed={seed}", f"threads={threads}", "trackers=[]", *changes]
        settings = [word for setting in fixed for word in ("--set", setting)]
        command = [sys.executable, "-m", "torchweld.cli", "train", *words(what, recipe), *settings]
        load, start = os.getloadavg()[0], time.perf_counter()
        done = subprocess.run([*command, "--out", f"{temporary}/run", "--json"], stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - start
    result = json.loads(done.stdout)
    minutes, passed = [], 0.0
    for record in result["history"]:
        passed += record["seconds"]
        minutes.append(passed / 60)
    return {
        "what": what,
        "recipe": ", ".join((recipe, *changes)),
        "seed": seed,
        "threads": threads,
        "load_before": round(load, 1),
        "minutes": seconds / 60,
        "training_minutes": result["seconds"] / 60,
        "images_per_second": round(statistics.median(record["images_per_second"] for record in result["history"])),
        "passes": round(sum(record["kept"] for record in result["history"]), 1),
        "machine": result["machine"],
        "model": result["config"]["model"],
        "parameters": result["parameters"],
        "best_epoch": result["best_epoch"],
        "test": {name: result["test"][name] for name in ("named", "score", "accuracy", "loss", "samples")},
        "one_view": result["test_one_view"] and result["test_one_view"]["score"],
        "curve": [[at, record["score"]] for at, record in zip(minutes, result["history"], strict=True)],
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
    }


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()] if ROWS.exists() else []


def write(what: str) -> str:
    """The table of a data set, and the curves, from the rows."""
    mine = [row for row in rows() if row["what"] == what]
    lines = [
        f"# {'Aerial fields' if what == 'fields' else 'Fashion-MNIST'}: what the recipes reach",
        "",
        f"`python benchmarks/recipes.py {what}`, one row a run: the epoch is chosen on a part of the training data, "
        "the test part is scored once. Minutes are the whole command's, with reading the data and choosing threads and "
        "layout; images/s is the median epoch's, which shows how fast the (shared) machine was; load is its own before "
        "the run. Passes are epochs less the samples that sat out (`data_pruning`). The last column, for recipes with "
        "`views`: the same network without averaging over them.",
        "",
        f"| recipe | network | parameters | seed | threads | load | images/s | passes | minutes | "
        f"test {mine[0]['test']['named']} | one view |",
        f"|{' --- |' * 11}",
    ]
    lines += [
        f"| {row['recipe']} | {row['model']} | {row['parameters']:,} | {row['seed']} | {row['threads']}, "
        f"{row['machine']['dtype']} | {row['load_before']} | {row.get('images_per_second', 'not kept')} | "
        f"{row.get('passes', len(row['curve'])):g} | {row['minutes']:.1f} | {row['test']['score']:.4f} | "
        f"{format(row['one_view'], '.4f') if row.get('one_view') else ''} |"
        for row in mine
    ]
    lines.append("")
    for recipe in dict.fromkeys(row["recipe"] for row in mine):
        scores = [row["test"]["score"] for row in mine if row["recipe"] == recipe]
        if len(scores) > 1:
            spread = statistics.stdev(scores)
            lines.append(f"{recipe}: mean {statistics.mean(scores):.4f}, standard deviation {spread:.4f} "
                         f"over {len(scores)} seeds.")  # fmt: skip
    lines += ["", f"![held-out score against minutes]({what}.png)", ""]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for row in mine:
        axes.plot(*zip(*row["curve"], strict=True), marker=".", label=f"{row['recipe']}, seed {row['seed']}")
    named = mine[0]["test"]["named"]
    lowest = min(score for row in mine for _, score in row["curve"][1:] or row["curve"])
    axes.set(xlabel="minutes of training", ylabel=f"held-out {named}", ylim=(max(lowest - 0.01, 0), None))
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    with written_whole(HERE / "results" / f"{what}.png") as target:
        figure.savefig(target, dpi=110)
    text = "\n".join(lines)
    with written_whole(HERE / "results" / f"{what}.md") as target:
        target.write_text(text, encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fields", "fashion"))
    parser.add_argument("--recipes", nargs="+")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    recipes = arguments.recipes or [{"fields": "segment", "fashion": "fashion"}[arguments.what]]
    for recipe in recipes:
        for seed in arguments.seeds:
            key = (arguments.what, ", ".join((recipe, *arguments.set)), seed, arguments.threads)
            if any((row["what"], row["recipe"], row["seed"], row["threads"]) == key for row in rows()):
                continue
            row = run(arguments.what, recipe, arguments.set, seed, arguments.threads)
            with ROWS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{recipe} seed {seed}: {row['test']['named']} {row['test']['score']:.4f}, {row['minutes']:.1f} min")
    print(write(arguments.what))


if __name__ == "__main__":
    main()
