"""The welded model in eager PyTorch, prepacked, and in OpenVINO: one process, in turns.

    python benchmarks/prepack.py --models repvgg_a0 mobileone_s0

OpenVINO (`pip install torchweld[deploy]`) reads the fused module; where it is not installed its columns say so. Medians
of wall-clock time, since OpenVINO computes on threads of its own. Writes `benchmarks/results/prepack.md`.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import torchweld as tw
from fusion import processor, trained  # the benchmark beside this one
from torchweld.core import relative_error

RESULTS = Path(__file__).parent / "results" / "prepack.md"
MODELS = ("repvgg_a0", "mobileone_s0", "resnet18", "mobilenetv3_small_050")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def of_openvino(module: nn.Module, x: Tensor, precision: str, threads: int) -> Callable[[], object] | None:
    """The module compiled by OpenVINO for the CPU, computing in a precision; None where OpenVINO is not installed."""
    if importlib.util.find_spec("openvino") is None:
        return None
    openvino = importlib.import_module("openvino")
    converted = openvino.convert_model(torch.export.export(module, (x,)))
    options = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.compile_model(converted, "CPU", options)
    request, array = compiled.create_infer_request(), x.numpy()
    return lambda: request.infer([array], share_inputs=True, share_outputs=True)


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each; a short rest before each turn, so that no engine's threads still spin."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for turn in range(rounds + 3):
            for name, call in calls.items():
                time.sleep(0.002)
                call()
                start = time.perf_counter()
                call()
                if turn >= 3:
                    taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


def row(name: str, size: int, rounds: int, threads: int) -> list[str]:
    model, x = trained(name), torch.randn(1, 3, size, size)
    lines = []
    for precision, dtype in DTYPES.items():
        own = copy.deepcopy(model).to(dtype)
        given = x.to(dtype)
        fused = tw.fuse(own, given)
        packed = fused.prepack()
        laid = copy.deepcopy(fused.module).to(memory_format=torch.channels_last)
        across = given.to(memory_format=torch.channels_last)
        calls: dict[str, Callable[[], object]] = {
            "native": lambda own=own, given=given: own(given),
            "fused": lambda fused=fused, given=given: fused.module(given),
            "channels_last": lambda laid=laid, across=across: laid(across),
            "prepacked": lambda packed=packed, given=given: packed(given),
        }
        if (theirs := of_openvino(tw.fuse(model, x).module, x, precision, threads)) is not None:
            calls["openvino"] = theirs
        took = in_turns(calls, rounds)
        with torch.no_grad():
            error = relative_error(packed(given), fused(given))
        cells = [f"{took[key]:.2f}" if key in took else "not installed" for key in _COLUMNS]
        ratio = f"{took['prepacked'] / took['openvino']:.2f}" if "openvino" in took else "-"
        lines.append(f"| {name} | {precision} | {' | '.join(cells)} | {ratio} | {packed.packed} | {error:.1e} |")
        print(lines[-1], flush=True)
    return lines


_COLUMNS = ("native", "fused", "channels_last", "prepacked", "openvino")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=25)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")
    load = os.getloadavg()[0]
    rows = [line for name in given.models for line in row(name, given.size, given.rounds, given.threads)]
    lines = [
        "# Prepacked",
        "",
        f"`python benchmarks/prepack.py --threads {given.threads} --rounds {given.rounds} --size {given.size}`: "
        f"{processor()}, torch {torch.__version__}, batch 1, load {load:.1f} at the start and {os.getloadavg()[0]:.1f} "
        "at the end. Median milliseconds of turns in one process; OpenVINO runs the fused module.",
        "",
        "| network | dtype | native | fused | fused, channels_last | prepacked | OpenVINO | prepacked / OpenVINO "
        "| modules packed | difference to fused |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
