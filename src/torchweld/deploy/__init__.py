"""Models in use: weights read safely, engines to run on, benchmarks of native against fused."""

from torchweld.deploy.benchmark import BenchResult, Timing, bench
from torchweld.deploy.engines import ENGINES
from torchweld.deploy.stages import STAGE_SETTINGS, StageRow, StageSetting, StageTable, three_stages, time_stages
from torchweld.deploy.timing import Measured, interleaved
from torchweld.deploy.weights import load_weights, read_program, read_state, save_weights

__all__ = [
    "ENGINES",
    "STAGE_SETTINGS",
    "BenchResult",
    "Measured",
    "StageRow",
    "StageSetting",
    "StageTable",
    "Timing",
    "bench",
    "interleaved",
    "load_weights",
    "read_program",
    "read_state",
    "save_weights",
    "three_stages",
    "time_stages",
]
