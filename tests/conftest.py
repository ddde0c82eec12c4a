"""What every test runs under: one thread, hypothesis without a clock, torchvision's operators where it lacks them."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
os.environ["TORCHWELD_CACHE"] = tempfile.mkdtemp(prefix="torchweld-tests-")  # no constants of this machine

# The same examples on every run, so that a green run stays green; `--hypothesis-profile=thorough` looks further.
_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile("default")


def _define_missing_torchvision_operators() -> None:
    """torchvision registers shape rules at import for operators of its compiled part, which may not fit this torch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return
    try:
        for library in Path(spec.submodule_search_locations[0]).glob("_C.*"):
            torch.ops.load_library(str(library))
            return
    except OSError:
        pass
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")


_define_missing_torchvision_operators()
