"""Every family of timm, and torchvision's classification models, through fuse: `make zoo`.

    python benchmarks/zoo.py                                   # latency too, by processor time, two models at a time
    python benchmarks/zoo.py --no-latency --largest 60000000   # counts and certificates only
    python benchmarks/zoo.py --families levit swin_transformer --again

One model a family, the smallest, at its own input size, with randomised batch-norm statistics: convolutions and norms
before, after and by timm's own `reparameterize_model`; errors; and CPU time of the fused model against the original and
against timm's (interleaved, medians of one thread's CPU time, so that other work on the machine counts little; a ratio
above 1.03 is measured three times and the middle one counts). Each model runs in a process of its own, so none stops
another. Finished rows are kept in a JSON-lines file and not run again, except for latency where they have none.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import torchweld as tw
from fusion import CLOCKS, in_turns, processor, settled, timm, trained  # the benchmark beside this one
from torchweld.core import CheckFailed, InputError

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "zoo.md"
MODELS = HERE / "zoo_models.json"  # family -> [name, parameters]: found once by --choose
BYTES_PER_PARAMETER = 44  # two models in float32, two twins in float64, copies on the way
ALONE = 40_000_000  # parameters; larger ones are run one at a time
WORST = 1.03


@dataclass(frozen=True)
class Options:
    """How a model is run; `budget_seconds` is what its latency may take before remeasuring."""

    latency: bool
    budget_seconds: float
    timeout_seconds: float
    largest: int


def smallest_of_each_family() -> dict[str, tuple[str, int]]:
    """Family to the name and size of its member with the fewest parameters, the models built without memory."""
    chosen: dict[str, tuple[str, int]] = {}
    for family in timm.list_modules():
        sizes = {name: n for name in timm.list_models(module=family) if (n := _parameters(timm.create_model, name))}
        if sizes:
            name = min(sizes, key=sizes.__getitem__)
            chosen[family] = (name, sizes[name])
    import torchvision.models as zoo

    for name in zoo.list_models(module=zoo):
        n = _parameters(zoo.get_model, name)
        family = f"torchvision {zoo.get_model_builder(name).__module__.rpartition('.')[2]}"
        if n and n < chosen.get(family, ("", sys.maxsize))[1]:
            chosen[family] = (name, n)
    return chosen


def _parameters(build: Any, name: str) -> int | None:
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in build(name).parameters())
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # some constructors need real tensors
        return None


def run(family: str, name: str, options: Options) -> dict[str, Any]:
    """One row of the table."""
    theirs_too = not family.startswith("torchvision ")
    model = trained(name if theirs_too else f"torchvision:{name}")
    size = model.default_cfg["input_size"] if theirs_too else (3, 299, 299) if name == "inception_v3" else (3, 224, 224)
    x = torch.randn(1, *size)
    start = time.perf_counter()
    try:
        fused = tw.fuse(model, x)
    except (InputError, CheckFailed) as error:
        return {"failed": str(error).splitlines()[0]}
    report, certificate = fused.report, fused.report.certificate
    theirs = timm.utils.reparameterize_model(copy.deepcopy(model)).eval() if theirs_too else model
    changed = [n for n, _ in theirs.named_modules()] != [n for n, _ in model.named_modules()]
    row: dict[str, Any] = {
        "fuse_seconds": time.perf_counter() - start,
        "before": [report.before.convs, report.before.norms],
        "after": [report.after.convs, report.after.norms],
        "timm": [_count(theirs, _CONVS), _count(theirs, _NORMS)] if changed else None,
        "twin_error": certificate.twin_error,
        "fused_error": certificate.fused_error,
        "native_error": certificate.native_error,
        "notes": [note for note in report.notes if "axis" not in note],
    }
    if options.latency:
        row["to_native"] = _ratio(fused.module, model, x, options.budget_seconds)
        row["to_timm"] = _ratio(fused.module, theirs, x, options.budget_seconds) if changed else None
    row["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return row


def _ratio(mine: nn.Module, other: nn.Module, x: torch.Tensor, budget_seconds: float) -> float:
    """Fused time over the other's, with as many rounds as fit the budget."""
    clock = CLOCKS["thread"]
    start = clock()
    in_turns(mine, other, x, 1, clock)
    rounds = int(min(max(budget_seconds / max((clock() - start) / 3, 1e-9), 5), 25))
    return settled(mine, other, x, rounds, clock)[0]


_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _count(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> int:
    return sum(isinstance(m, kinds) for m in model.modules())


def rows_of(wanted: list[tuple[str, str]], workers: int, options: Options) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Rows as they are finished, each made in a forked process of its own that may not run for ever."""
    context = multiprocessing.get_context("fork")
    waiting, running = list(wanted), []
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < workers:
                family, name = waiting.pop(0)
                place = Path(folder, f"{len(waiting)}")
                process = context.Process(target=_child, args=(family, name, options, place))
                process.start()
                running.append((process, time.monotonic(), family, name, place))
            time.sleep(0.05)
            for entry in list(running):
                process, since, family, name, place = entry
                late = time.monotonic() - since > options.timeout_seconds
                if late:
                    process.kill()
                process.join(timeout=None if late else 0)
                if process.exitcode is not None:
                    running.remove(entry)
                    row = json.loads(place.read_text()) if place.exists() else {"failed": _why(late, place, options)}
                    yield family, name, row


def _child(family: str, name: str, options: Options, place: Path) -> None:
    errors = place.with_suffix(".err").open("w")
    os.dup2(errors.fileno(), 2)
    warnings.filterwarnings("ignore")
    row = run(family, name, options)
    part = place.with_suffix(".part")
    part.write_text(json.dumps(row))
    part.replace(place)


def _why(late: bool, place: Path, options: Options) -> str:
    if late:
        return f"longer than {options.timeout_seconds:.0f} s"
    said = place.with_suffix(".err").read_text().strip().splitlines()
    return said[-1][:160] if said else "the process was killed (memory?)"


def table(rows: dict[str, dict[str, Any]], chosen: dict[str, tuple[str, int]]) -> str:
    """The results as markdown; `chosen` are the names and sizes of all, run or not."""
    done = {f: r for f, r in rows.items() if "failed" not in r}
    timed = {f: r for f, r in done.items() if r.get("to_native") is not None}
    slower = [f"{r['name']} {r['to_native']:.2f}" for r in timed.values() if r["to_native"] > WORST]
    slower += [f"{r['name']} {r['to_timm']:.2f} of timm's" for r in timed.values() if (r.get("to_timm") or 0) > WORST]
    more = [r["name"] for r in done.values() if r["timm"] and r["after"][1] > r["timm"][1]]
    waiting = [f"{name} ({size:,} parameters)" for f, (name, size) in chosen.items() if f not in rows]
    twin = max((r["twin_error"] for r in done.values()), default=0.0)
    lines = [
        "# The zoo: every family of timm, and torchvision's",
        "",
        f"`make zoo`: {processor()}, torch {torch.__version__}, timm {timm.__version__}, one thread, float32, batch 1, "
        "at the model's own size; ratios of CPU-time medians, taken in turns; norms' statistics drawn.",
        "",
        f"{len(rows)} of {len(chosen)} families run, {len(done)} welded, float64 errors up to {twin:.1e}; {len(timed)} "
        f"timed: {_spread('fused over native', [r['to_native'] for r in timed.values()])}; "
        f"{_spread('fused over timm', [r['to_timm'] for r in timed.values() if r.get('to_timm')])}. "
        f"Slower than {WORST}: {', '.join(slower) or 'none'}. More norms than timm's own conversion: "
        f"{', '.join(more) or 'none'}. Not run: {', '.join(waiting) or 'none'}.",
        "",
        "Counts are convolutions/standalone norms; `-` where timm's own conversion changes nothing or there is none.",
        "",
        "| family | model | native | fused | timm's own | float64 error | float32 error (native's) | fuse, s "
        "| fused / native | fused / timm's own |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for family, r in sorted(rows.items()):
        if "failed" in r:
            lines.append(f"| {family} | {r['name']} | {r['failed'].replace('|', '/')} | | | | | | | |")
            continue
        counts = ["/".join(map(str, r[k])) if r[k] else "-" for k in ("before", "after", "timm")]
        errors = f"{r['twin_error']:.0e} | {r['fused_error']:.1e} ({r['native_error']:.1e}) | {r['fuse_seconds']:.0f}"
        ratios = " | ".join("-" if r.get(k) is None else f"{r[k]:.2f}" for k in ("to_native", "to_timm"))
        lines.append(f"| {family} | {r['name']} | {' | '.join(counts)} | {errors} | {ratios} |")
    return "\n".join(lines) + "\n"


def _spread(what: str, ratios: list[float]) -> str:
    if not ratios:
        return f"{what} not timed"
    return f"{what} {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f}"


def read_rows(kept: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for line in kept.read_text().splitlines() if kept.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):  # a line cut short by a stop
            row = json.loads(line)
            rows[row["family"]] = row
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-latency", action="store_true", help="counts and certificates only")
    parser.add_argument("--budget", type=float, default=6.0, help="seconds of CPU time for a ratio")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one model")
    parser.add_argument("--workers", type=int, default=2, help="models at a time, each with one thread")
    parser.add_argument("--largest", type=int, help="parameters; by default what this machine's memory holds")
    parser.add_argument("--families", nargs="*", help="only these")
    parser.add_argument("--again", action="store_true", help="run rows again that are there")
    parser.add_argument("--kept", type=Path, default=Path("runs/zoo.jsonl"))
    parser.add_argument("--choose", action="store_true", help="only find each family's smallest model again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if given.choose:
        MODELS.write_text(json.dumps(smallest_of_each_family(), indent=1) + "\n")
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    largest = given.largest or int(0.85 * memory / BYTES_PER_PARAMETER)
    options = Options(not given.no_latency, given.budget, given.timeout, largest)
    given.kept.parent.mkdir(parents=True, exist_ok=True)
    rows = read_rows(given.kept)
    chosen: dict[str, tuple[str, int]] = json.loads(MODELS.read_text())
    wanted = [f for f in chosen if not given.families or f in given.families]
    wanted = [f for f in wanted if given.again or f not in rows or (options.latency and _untimed(rows[f]))]
    small = [(f, chosen[f][0]) for f in wanted if chosen[f][1] <= min(ALONE, largest)]
    big = [(f, chosen[f][0]) for f in wanted if ALONE < chosen[f][1] <= largest]
    tw.fuse(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval(), torch.randn(1, 3, 8, 8))  # the exporter's own start
    done = 0
    for names, workers in ((small, given.workers), (big, 1)):
        for family, name, row in rows_of(names, workers, options):
            done += 1
            rows[family] = {"family": family, "name": name, **row}
            with given.kept.open("a") as file:
                file.write(json.dumps(rows[family]) + "\n")
            said = row.get("failed") or f"{row['before']} -> {row['after']}  {row.get('to_native') or ''}"
            print(f"[{done}/{len(small) + len(big)}] {name}: {said}  (load {os.getloadavg()[0]:.1f})", flush=True)
            RESULTS.write_text(table({f: rows[f] for f in chosen if f in rows}, chosen))
    left = [f"{chosen[f][0]} ({chosen[f][1]:,} parameters)" for f in wanted if chosen[f][1] > largest]
    print(f"left out, larger than {largest:,} parameters: {', '.join(left) or 'none'}")


def _untimed(row: dict[str, Any]) -> bool:
    return "failed" in row or row.get("to_native") is None


if __name__ == "__main__":
    main()
