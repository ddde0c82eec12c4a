"""From a frozen config to a trained network: the loop, its schedules, losses and optimisers, checkpoints, records."""

from torchweld.training.build import Needs, build_model
from torchweld.training.checkpoint import load_checkpoint, restore_model, restore_optimizer, save_checkpoint
from torchweld.training.config import Config
from torchweld.training.finished import load_run
from torchweld.training.folder import load_config
from torchweld.training.loop import resume, train
from torchweld.training.losses import LOSSES
from torchweld.training.machine import Machine
from torchweld.training.metrics import Scores
from torchweld.training.muon import Muon
from torchweld.training.optimizers import OPTIMIZERS, MeanSquareAdagrad
from torchweld.training.override import from_dict, overridden
from torchweld.training.progress import Progress
from torchweld.training.rate import schedule
from torchweld.training.recipes import RECIPES, recipe
from torchweld.training.records import Record, Run, StepRecord
from torchweld.training.schedule_plot import plot
from torchweld.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    PiecewiseConstant,
    Restarts,
    Schedule,
    Step,
    Triangular,
    Warmup,
)
from torchweld.training.score import evaluate
from torchweld.training.session import splits_of
from torchweld.training.shelf import Shelf
from torchweld.training.threads import fastest_threads, limited_threads
from torchweld.training.trackers import trackers
from torchweld.training.watchers import Watcher

__all__ = [
    "LOSSES",
    "OPTIMIZERS",
    "RECIPES",
    "Config",
    "Constant",
    "Cosine",
    "Exponential",
    "Linear",
    "Machine",
    "MeanSquareAdagrad",
    "MultiStep",
    "Muon",
    "Needs",
    "PiecewiseConstant",
    "Progress",
    "Record",
    "Restarts",
    "Run",
    "Schedule",
    "Scores",
    "Shelf",
    "Step",
    "StepRecord",
    "Triangular",
    "Warmup",
    "Watcher",
    "build_model",
    "evaluate",
    "fastest_threads",
    "from_dict",
    "limited_threads",
    "load_checkpoint",
    "load_config",
    "load_run",
    "overridden",
    "plot",
    "recipe",
    "restore_model",
    "restore_optimizer",
    "resume",
    "save_checkpoint",
    "schedule",
    "splits_of",
    "trackers",
    "train",
]
