"""What welding does to known networks: operators left, errors, seconds to fuse, latency against native and timm's own.

    python benchmarks/fusion.py --models repvgg_a0 resnet18 --rounds 15
    python benchmarks/fusion.py --clock thread          # on a busy machine: time of this thread alone

Contestants take turns in one process (A B C A B C ...) and their medians are compared; a ratio above 1.03 is measured
three times and the middle one counts. Writes `benchmarks/results/fusion.md`.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import torchweld as tw

sys.path.insert(0, str(Path(__file__).parents[1]))
importlib.import_module("tests.conftest")  # defines torchvision's operators where its compiled part does not load
import timm  # noqa: E402

MODELS = ("repvgg_a0", "mobileone_s0", "resnet18", "fastvit_t8", "repghostnet_050", "densenet121")
RESULTS = Path(__file__).parent / "results" / "fusion.md"
WORST = 1.03
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "thread": time.thread_time}


@dataclass(frozen=True)
class Row:
    """One network. Counts are (convolutions, norms); ratios are by memory layout, below 1 where the fused is faster."""

    name: str
    native: tuple[int, int]
    fused: tuple[int, int]
    timms: tuple[int, int] | None
    twin_error: float
    fused_error: float
    native_error: float
    fuse_seconds: float
    to_native: Mapping[str, float] = field(default_factory=dict)
    to_timm: Mapping[str, float] = field(default_factory=dict)
    fused_ms: Mapping[str, float] = field(default_factory=dict)


def trained(name: str) -> nn.Module:
    """The network with statistics of norms that differ from channel to channel; timm's, or `torchvision:name`."""
    torch.manual_seed(0)
    library, _, own = name.rpartition(":")
    model: nn.Module = importlib.import_module("torchvision.models").get_model(own) if library else _of_timm(name)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def _of_timm(name: str) -> nn.Module:
    return timm.create_model(name, pretrained=False)


def measure(name: str, size: int, rounds: int, clock: Callable[[], float]) -> Row:
    model, x = trained(name), torch.randn(1, 3, size, size)
    start = clock()
    fused = tw.fuse(model, x)
    seconds = clock() - start
    contestants = {"native": model, "fused": fused.module}
    converted = timm.utils.reparameterize_model(copy.deepcopy(model)).eval()
    if [n for n, _ in converted.named_modules()] != [n for n, _ in model.named_modules()]:
        contestants["timm"] = converted
    ratios: dict[str, dict[str, float]] = {"native": {}, "timm": {}}
    fused_ms: dict[str, float] = {}
    for layout, memory in (("NCHW", torch.contiguous_format), ("channels_last", torch.channels_last)):
        laid = {key: copy.deepcopy(module).to(memory_format=memory) for key, module in contestants.items()}
        for other in [key for key in ("native", "timm") if key in laid]:
            ratio, fused_ms[layout] = settled(laid["fused"], laid[other], x.to(memory_format=memory), rounds, clock)
            ratios[other][layout] = ratio
    report, certificate = fused.report, fused.report.certificate
    own = tw.fuse(converted, x).report.before if "timm" in contestants else None
    return Row(
        name,
        (report.before.convs, report.before.norms),
        (report.after.convs, report.after.norms),
        (own.convs, own.norms) if own else None,
        certificate.twin_error,
        certificate.fused_error,
        certificate.native_error,
        seconds,
        ratios["native"],
        ratios["timm"],
        fused_ms,
    )


def settled(
    mine: nn.Module, other: nn.Module, x: Tensor, rounds: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """The ratio of medians and the first's milliseconds; the middle of three where the ratio is above the bound."""
    found = [in_turns(mine, other, x, rounds, clock)]
    if found[0][0] > WORST:
        found += [in_turns(mine, other, x, rounds, clock) for _ in range(2)]
    return sorted(found)[len(found) // 2]


def in_turns(
    mine: nn.Module, other: nn.Module, x: Tensor, rounds: int, clock: Callable[[], float]
) -> tuple[float, float]:
    taken: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for turn in range(rounds + 2):
            for samples, module in zip(taken, (mine, other), strict=True):
                start = clock()
                module(x)
                if turn >= 2:  # the first turns warm up
                    samples.append(clock() - start)
    a, b = map(statistics.median, taken)
    return a / b, 1e3 * a


def memory(name: str) -> None:
    """Prints by how many MB the peak of resident memory grows while a network is fused; run in a process of its own."""
    model, x = trained(name), torch.randn(1, 3, 224, 224)
    tw.fuse(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval(), x)  # what the exporter itself loads, once
    with torch.no_grad():
        model(x)
    before = _resident_mb()
    tw.fuse(model, x)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{sum(p.numel() for p in model.parameters())} {max(0.0, peak - before):.0f}")


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def table(rows: list[Row], grown: str, options: argparse.Namespace, loads: tuple[float, float]) -> str:
    def pair(counts: tuple[int, int] | None) -> str:
        return "/".join(map(str, counts)) if counts else "-"

    def both(values: Mapping[str, float]) -> str:
        return " ".join(f"{v:.2f}" for v in values.values()) or "-"

    lines = [
        "# Fusion",
        "",
        f"`python benchmarks/fusion.py --clock {options.clock} --threads {options.threads} --rounds {options.rounds} "
        f"--size {options.size}`",
        "",
        f"{processor()}, {os.cpu_count()} cores seen; torch {torch.__version__}, timm {timm.__version__}; "
        f"threads {options.threads}; clock: {options.clock}; load average {loads[0]:.1f} at the start, "
        f"{loads[1]:.1f} at the end; float32, batch 1, {options.size}x{options.size}; norms' statistics drawn.",
        "",
        "Pairs of counts are convolutions/standalone norms. Pairs of latencies and ratios are NCHW and channels_last.",
        "",
        "| network | native | fused | timm's own | float64 error | float32 error | native's own | fuse, s | fused, ms "
        "| fused / native | fused / timm's own |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.name} | {pair(r.native)} | {pair(r.fused)} | {pair(r.timms)} | {r.twin_error:.1e} | {r.fused_error:.1e} "
        f"| {r.native_error:.1e} | {r.fuse_seconds:.1f} | {' '.join(f'{v:.1f}' for v in r.fused_ms.values())} "
        f"| {both(r.to_native)} | {both(r.to_timm)} |"
        for r in rows
    ]
    return "\n".join([*lines, "", grown, ""])


def processor() -> str:
    try:
        found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        return found[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="names of timm")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=224, help="height and width of the image")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="`thread`: processor time, one thread only")
    parser.add_argument("--memory-model", default="vit_base_patch16_224")
    parser.add_argument("--memory", metavar="MODEL", help="only print parameters and growth in MB for one network")
    options = parser.parse_args()
    if options.clock == "thread" and options.threads != 1:
        parser.error("--clock thread sees one thread only; give --threads 1")
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    if options.memory:
        memory(options.memory)
        return
    load = os.getloadavg()[0]
    tw.fuse(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval(), torch.randn(1, 3, 8, 8))  # the exporter's own start
    rows = []
    for number, name in enumerate(options.models, 1):
        rows.append(measure(name, options.size, options.rounds, CLOCKS[options.clock]))
        print(f"{number}/{len(options.models)} {rows[-1]}", flush=True)
    here = [sys.executable, __file__, "--threads", str(options.threads), "--memory", options.memory_model]
    told = subprocess.run(here, capture_output=True, text=True, check=True).stdout.split()
    grown = (
        f"Peak resident memory grew by {int(told[1]) / 1000:.2f} GB while fusing {options.memory_model} "
        f"({int(told[0]) / 1e6:.0f}M parameters): `python benchmarks/fusion.py --memory {options.memory_model}`."
    )
    text = table(rows, grown, options, (load, os.getloadavg()[0]))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
