"""What our interpreters cost beside torch's own, and how memory grows with depth in forward and reverse mode.

    python benchmarks/autodiff_cost.py time     # writes benchmarks/results/autodiff_cost.json
    python benchmarks/autodiff_cost.py memory   # writes autodiff_memory.json and autodiff_memory.svg there

Times are medians of turns taken in one run (ours, theirs, ours, ...), one thread. Memory is the rise of the process's
high-water mark (VmHWM) in a fresh process for each depth; one weight is shared by all layers, so that only what a
mode keeps can grow.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchweld import autodiff as ad
from torchweld.core import written_whole
from torchweld.optimize import plot

RESULTS = Path(__file__).parent / "results"
BATCH, WIDTH, TURNS = 256, 512, 25
DEPTHS = (4, 8, 16, 32, 64)
SIDE = 512  # an activation of the memory test is SIDE x SIDE float64: 2 MiB


def mlp() -> tuple[Callable[..., Tensor], dict[str, Tensor], Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    x, y = torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return F.mse_loss(torch.func.functional_call(net, weights, (x,)), y)

    return loss, {k: v.detach() for k, v in net.named_parameters()}, x


def turns(contenders: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each contender, taken in turns after two warm-up calls."""
    for call in contenders.values():
        call()
        call()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(TURNS):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(t), 3) for name, t in times.items()}


def cost() -> dict[str, object]:
    loss, weights, _ = mlp()
    torch.manual_seed(1)
    tangents = {k: torch.randn_like(v) for k, v in weights.items()}

    def by_autograd() -> object:
        leaves = {k: v.requires_grad_() for k, v in ((k, v.clone()) for k, v in weights.items())}
        return torch.autograd.grad(loss(leaves), list(leaves.values()))

    ms = turns(
        {
            "jvp ours": lambda: ad.jvp(loss, (weights,), (tangents,)),
            "jvp torch.func": lambda: torch.func.jvp(loss, (weights,), (tangents,)),
            "grad ours": lambda: ad.grad(loss)(weights),
            "grad torch.func": lambda: torch.func.grad(loss)(weights),
            "grad torch.autograd": by_autograd,
        }
    )
    ours, theirs = ad.grad(loss)(weights), torch.func.grad(loss)(weights)
    worst = max((ours[k] - theirs[k]).norm().item() / theirs[k].norm().item() for k in ours)
    ratios = {
        "jvp / torch.func": ms["jvp ours"] / ms["jvp torch.func"],
        "grad / torch.func": ms["grad ours"] / ms["grad torch.func"],
        "grad / torch.autograd": ms["grad ours"] / ms["grad torch.autograd"],
    }
    return {"milliseconds": ms, "ratios": {k: round(v, 3) for k, v in ratios.items()}, "gradients_apart": worst}


def peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def memory_of(mode: str, depth: int) -> float:
    """MiB by which the high-water mark rises when a network of `depth` layers is differentiated, in this process."""
    torch.manual_seed(0)
    weight = torch.randn(SIDE, SIDE, dtype=torch.float64) / SIDE**0.5
    x, t = torch.randn(SIDE, SIDE, dtype=torch.float64), torch.randn(SIDE, SIDE, dtype=torch.float64)

    def network(x: Tensor, layers: int = depth) -> Tensor:
        for _ in range(layers):
            x = torch.tanh(x @ weight)
        return x.sum()

    modes = {
        "forward": lambda f: ad.jvp(f, (x,), (t,)),
        "reverse": lambda f: ad.grad(f)(x),
        "torch.func.jvp": lambda f: torch.func.jvp(f, (x,), (t,)),
        "torch.func.grad": lambda f: torch.func.grad(f)(x),
    }
    modes[mode](lambda x: network(x[:8], 1))
    before = peak_kib()
    modes[mode](network)
    return (peak_kib() - before) / 1024


def memory() -> dict[str, dict[int, float]]:
    out: dict[str, dict[int, float]] = {}
    for mode in ("forward", "reverse", "torch.func.jvp", "torch.func.grad"):
        for depth in DEPTHS:
            # every block by its own mapping: freed memory goes back, so that the mark shows what was alive at once
            env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
            command = [sys.executable, __file__, "--memory", mode, str(depth)]
            line = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
            out.setdefault(mode, {})[depth] = round(float(line), 1)
    return out


def write(name: str, measured: dict[str, object]) -> None:
    text = json.dumps(measured, indent=2) + "\n"
    with written_whole(RESULTS / name) as path:
        path.write_text(text)
    print(text, end="")


def main() -> None:
    torch.set_num_threads(1)
    about: dict[str, object] = {"torch": torch.__version__, "threads": 1}
    match sys.argv[1:]:
        case ["--memory", mode, depth]:
            print(memory_of(mode, int(depth)))
        case ["time"]:
            about["what"] = f"3-layer MLP, width {WIDTH}, batch {BATCH}, float32, median of {TURNS} turns"
            about["load"] = round(os.getloadavg()[0], 2)
            write("autodiff_cost.json", about | cost())
        case ["memory"]:
            kept = memory()
            about["what"] = (
                f"MiB above the start by depth; an activation is {SIDE} x {SIDE} float64, {SIDE**2 / 2**17} MiB"
            )
            write("autodiff_memory.json", about | kept)
            plot.curves(
                {mode: (list(depths), list(depths.values())) for mode, depths in kept.items()},
                RESULTS / "autodiff_memory.svg",
                xlabel=f"layers of {SIDE} x {SIDE} activations ({SIDE**2 / 2**17:g} MiB each)",
                ylabel="MiB above the start, at most",
                title="Forward mode keeps nothing, reverse mode keeps every layer",
            )
        case _:
            raise SystemExit("say time or memory")


if __name__ == "__main__":
    main()
