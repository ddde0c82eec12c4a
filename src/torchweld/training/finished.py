"""A finished run as a network again: built from its config, filled with the weights of its best epoch."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from torchweld.core import InputError
from torchweld.training.build import Needs, build_model
from torchweld.training.checkpoint import restore_model
from torchweld.training.folder import config_of


def load_run(folder: str | os.PathLike[str], one_view: bool = False) -> tuple[nn.Module, Tensor]:
    """The network of the run in `folder`, in eval mode, and one random input (1, ...) of the shape that it learnt on.

    `one_view` leaves out the averaging over `views`, where the run has any: the scores of one view, at its cost alone.
    Nothing in the folder is executed. Raises `InputError` if there is no finished run, or its files do not fit.
    """
    place = Path(folder)
    config = config_of(place)
    try:
        needs = Needs.of(json.loads((place / "result.json").read_text(encoding="utf-8"))["data"])
        weights = load_file(place / "model.safetensors")
    except FileNotFoundError as error:
        raise InputError(f"{place} holds no finished run ({Path(error.filename or place).name} is missing); go on with "
                         "it by torchweld train --resume") from None  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{place}: its files are not a run's ({error})") from None
    random = torch.Generator().manual_seed(0)
    # Only the structure is wanted: what the branches were calibrated on is in the weights.
    calibration = torch.randn(8, *needs.input_shape, generator=random)
    with torch.random.fork_rng(devices=[]):
        views = () if one_view else config.views
        model = build_model(replace(config, init_from=None, freeze=(), views=views), needs, calibration)
    restore_model(model, weights, str(place / "model.safetensors"))
    return model.eval(), torch.randn(1, *needs.input_shape, generator=random)
