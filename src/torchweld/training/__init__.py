"""From a frozen config to a trained network and its history."""

from torchweld.training.config import Config
from torchweld.training.loop import evaluate, train
from torchweld.training.progress import Progress, Watcher
from torchweld.training.records import Record, Run
from torchweld.training.threads import fastest_threads, limited_threads

__all__ = [
    "Config",
    "Progress",
    "Record",
    "Run",
    "Watcher",
    "evaluate",
    "fastest_threads",
    "limited_threads",
    "train",
]
