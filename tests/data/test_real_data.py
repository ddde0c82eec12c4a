"""Real data, where they are: Fashion-MNIST, cropland with masks, airfoil noise."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from torchweld import data

ROOT = Path(os.environ.get("TORCHWELD_DATA") or Path(__file__).parents[3] / "shared" / "data")


def folder(name: str) -> Path:
    if not (ROOT / name).is_dir():
        pytest.skip(f"{name} is not in {ROOT}; set TORCHWELD_DATA to the folder that has it")
    return ROOT / name


@pytest.mark.data
def test_fashion_mnist() -> None:
    splits = data.read(folder("fashion_mnist"), holdout=0)
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (60_000, 10_000)
    assert round(splits.mean[0], 4) == 0.2860
    assert round(splits.std[0], 4) == 0.3530


@pytest.mark.data
def test_cropland() -> None:
    splits = data.read(folder("naip_fields"), holdout=0)
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (240, 80)
    assert splits.mask_values == {0: 0, 255: 1}
    assert round(float(np.asarray(splits.train.targets).mean()), 2) == 0.70
    assert round(float(np.asarray(splits.test.targets).mean()), 2) == 0.62


@pytest.mark.data
def test_airfoil_noise() -> None:
    """Least squares on the first 1500 standardised rows: half the mean squared error is 0.241688."""
    splits = data.read(folder("airfoil_self_noise") / "airfoil_self_noise.dat", holdout=0)
    assert splits.task == "regress"
    x = (np.asarray(splits.train.inputs, np.float64) - splits.mean) / splits.std
    y = (np.asarray(splits.train.targets, np.float64) - splits.scale.target_mean) / splits.scale.target_std
    x, y = np.concatenate([x, np.ones((len(x), 1))], 1)[:1500], y[:1500]
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert abs((residual**2).mean() / 2 - 0.241688) < 1e-5
