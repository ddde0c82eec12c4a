"""The roofline's constants, measured on this machine: a few operators of typical sizes, each at its best of several."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from torchweld.fusion.machine import Machine

_TURNS = 7


def calibrate_machine(device: str = "cpu", dtype: torch.dtype = torch.float32, *, seconds: float = 2.0) -> Machine:
    """Measures this machine, with the threads that torch has now, for about `seconds` in all.

    >>> machine = calibrate_machine(seconds=0.01)
    >>> machine.bytes_per_second > 0
    True
    """
    options = {"device": device, "dtype": dtype}
    generator = torch.Generator(device).manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, **options)  # type: ignore[call-overload]

    tokens, weight = drawn(784, 256), drawn(256, 256)
    image, kernel = drawn(1, 128, 28, 28), drawn(128, 128, 3, 3)
    wide, each = drawn(1, 128, 56, 56), drawn(128, 1, 3, 3)
    long, small = drawn(1, 64, 128, 128), drawn(1, 8, 2, 2)
    work: dict[str, tuple[Callable[[], object], float]] = {
        "linear": (lambda: F.linear(tokens, weight), 2.0 * tokens.numel() * 256),
        "conv": (lambda: F.conv2d(image, kernel, padding=1), 2.0 * image.numel() * 128 * 9),
        "depthwise": (lambda: F.conv2d(wide, each, padding=1, groups=128), 2.0 * wide.numel() * 9),
        "bytes": (lambda: long + 1, 2.0 * long.numel() * long.element_size()),
        "launch": (lambda: small + 1, 1.0),
    }
    with torch.inference_mode():
        best = {name: best_seconds(call, seconds / len(work), device) for name, (call, _) in work.items()}
    return Machine(
        linear_flops_per_second=work["linear"][1] / best["linear"],
        conv_flops_per_second=work["conv"][1] / best["conv"],
        depthwise_flops_per_second=work["depthwise"][1] / best["depthwise"],
        bytes_per_second=work["bytes"][1] / best["bytes"],
        # a module's call costs Python a few operators' time besides
        launch_seconds=3 * best["launch"],
    )


def best_seconds(call: Callable[[], object], budget_seconds: float, device: str) -> float:
    """The least time of several turns: what the call takes when nothing else disturbs it."""

    clock = clock_for(device)

    def once(times: int) -> float:
        start = clock()
        for _ in range(times):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        return (clock() - start) / times

    once(1)
    times = max(1, min(1000, int(budget_seconds / _TURNS / max(once(1), 1e-7))))
    return min(once(times) for _ in range(_TURNS))


def clock_for(device: str) -> Callable[[], float]:
    """The processor time of this thread where it does all the work, so that others on the machine count little."""
    return time.thread_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
