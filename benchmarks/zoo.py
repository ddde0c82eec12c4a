"""Every family of timm through fuse: `python benchmarks/zoo.py` (or `make zoo`).

One model a family, the smallest, at its own input size, with randomised batch-norm statistics: convolutions and norms
before, after and by timm's own `reparameterize_model`; errors; and CPU time of the fused model against the original and
against timm's (interleaved, medians of one thread's CPU time, so that other work on the machine counts little).
Finished models are kept in a JSON-lines file and are not run again; one model's failure stops no other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import torchweld as tw
from fusion import timm, trained  # the benchmark beside this one
from torchweld.core import CheckFailed, InputError

RESULTS = Path(__file__).parent / "results"
LARGEST = 120_000_000  # parameters; above, float64 twins do not fit a small machine


def smallest_of_each_family(kept: Path) -> dict[str, str]:
    """Family to the name of its member with the fewest parameters, the models built without memory; kept in a file."""
    if kept.exists():
        found: dict[str, str] = json.loads(kept.read_text())
        return found
    chosen: dict[str, str] = {}
    for family in timm.list_modules():
        sizes = {name: _parameters(name) for name in timm.list_models(module=family)}
        known = {name: n for name, n in sizes.items() if n is not None}
        if known:
            chosen[family] = min(known, key=known.__getitem__)
    kept.write_text(json.dumps(chosen))
    return chosen


def _parameters(name: str) -> int | None:
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in timm.create_model(name).parameters())
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # some constructors need real tensors
        return None


def run(name: str, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    model = trained(name)
    if sum(p.numel() for p in model.parameters()) > LARGEST:
        return {"failed": f"more than {LARGEST:,} parameters"}
    x = torch.randn(1, *model.default_cfg["input_size"])
    start = time.perf_counter()
    try:
        fused = tw.fuse(model, x)
    except _FAILURES as error:
        return {"failed": str(error).splitlines()[0]}
    report = fused.report
    theirs = timm.utils.reparameterize_model(model).eval()
    native, ours, other = _times([model, fused.module, theirs], x, rounds)
    return {
        "seconds": time.perf_counter() - start,
        "before": [report.before.convs, report.before.norms],
        "after": [report.after.convs, report.after.norms],
        "timm": [_count(theirs, _CONVS), _count(theirs, _NORMS)],
        "twin_error": report.certificate.twin_error,
        "fused_error": report.certificate.fused_error,
        "native_error": report.certificate.native_error,
        "fused_to_native": ours / native,
        "fused_to_timm": ours / other,
        "notes": [note for note in report.notes if "axis" not in note],
    }


_FAILURES = (InputError, CheckFailed, RuntimeError, TypeError, ValueError, AssertionError, LookupError)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _count(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> int:
    return sum(isinstance(m, kinds) for m in model.modules())


def _times(models: list[nn.Module], x: torch.Tensor, rounds: int) -> list[float]:
    taken: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for number in range(rounds + 1):
            for model, times in zip(models, taken, strict=True):
                start = time.thread_time()
                model(x)
                if number:
                    times.append(time.thread_time() - start)
    return [statistics.median(times) for times in taken]


def table(rows: dict[str, dict[str, Any]], families: int) -> str:
    """The results as markdown; `families` is how many there are in all."""
    done = {f: r for f, r in rows.items() if "failed" not in r}
    slower = [f"{r['name']} {r['fused_to_native']:.2f}" for r in done.values() if r["fused_to_native"] > 1.03]
    twin = max((r["twin_error"] for r in done.values()), default=0.0)
    lines = [
        "# The zoo: every family of timm",
        "",
        f"`python benchmarks/zoo.py`, torch {torch.__version__}, timm {timm.__version__}, one thread, float32; "
        "times are ratios of CPU-time medians.",
        "",
        f"{len(rows)} of {families} families run so far, {len(done)} welded, float64 errors up to {twin:.1e}. "
        f"Slower than 1.03: {', '.join(slower) or 'none'}.",
        "",
        "| family | model | convs/norms | fused | timm's | float64 | float32 (native) | fused/native | fused/timm |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for family, r in sorted(rows.items()):
        if "failed" in r:
            lines.append(f"| {family} | {r['name']} | {r['failed']} | | | | | | |")
            continue
        counts = ["/".join(map(str, r[k])) for k in ("before", "after", "timm")]
        errors = f"{r['twin_error']:.0e} | {r['fused_error']:.1e} ({r['native_error']:.1e})"
        ratios = f"{r['fused_to_native']:.2f} | {r['fused_to_timm']:.2f}"
        lines.append(f"| {family} | {r['name']} | {' | '.join(counts)} | {errors} | {ratios} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--families", nargs="*")
    parser.add_argument("--kept", type=Path, default=Path("runs/zoo.jsonl"))
    parser.add_argument("--again", nargs="*", default=[], help="families to run again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.kept.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Any]] = {}
    if options.kept.exists():
        for line in options.kept.read_text().splitlines():
            row = json.loads(line)
            rows[row["family"]] = row
    chosen = smallest_of_each_family(options.kept.with_name("zoo_families.json"))
    wanted = [f for f in chosen if not options.families or f in options.families]
    for number, family in enumerate(wanted, 1):
        if family in rows and family not in options.again:
            continue
        row = {"family": family, "name": chosen[family], **run(chosen[family], options.rounds)}
        rows[family] = row
        with options.kept.open("a") as file:
            file.write(json.dumps(row) + "\n")
        said = row.get("failed") or f"{row['before']} -> {row['after']}  x{row['fused_to_native']:.2f}"
        print(f"[{number}/{len(wanted)}] {chosen[family]}: {said}  (load {os.getloadavg()[0]:.1f})", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "zoo.md").write_text(table({f: rows[f] for f in chosen if f in rows}, len(chosen)))


if __name__ == "__main__":
    main()
