"""The notes' Adagrad; groups; settings from text; the notes' linear trainer on the airfoil data."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from torchweld.core import InputError
from torchweld.data import Augmentation
from torchweld.training import RECIPES, Config, MeanSquareAdagrad, from_dict, overridden, recipe
from torchweld.training.linear import fit_linear
from torchweld.training.optimizers import build_optimizer


def test_mean_square_adagrad_does_not_slow_down_on_a_steady_gradient() -> None:
    ours, sums = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    gradient = torch.tensor([3.0, -0.5])
    steps = MeanSquareAdagrad([ours], lr=0.1), torch.optim.Adagrad([sums], lr=0.1)
    for _ in range(25):
        ours.grad, sums.grad = gradient.clone(), gradient.clone()
        for optimizer in steps:
            optimizer.step()
    torch.testing.assert_close(ours.detach(), torch.tensor([-2.5, 2.5]))
    # torch's divides by the root of the sum: the n-th step is lr / sqrt(n).
    expected = 0.1 * sum(n**-0.5 for n in range(1, 26))
    torch.testing.assert_close(sums.detach(), torch.tensor([-expected, expected]))


def test_mean_square_adagrad_by_hand_and_through_its_state() -> None:
    x = torch.tensor([1.0], requires_grad=True)
    optimizer = MeanSquareAdagrad([x], lr=0.5)
    value, squares = 1.0, 0.0
    for n, gradient in enumerate((2.0, -1.0, 0.25, 0.0), start=1):
        x.grad = torch.tensor([gradient])
        optimizer.step()
        squares += gradient**2
        value -= 0.5 * gradient / ((squares / n) ** 0.5 + 1e-10)
        assert x.item() == pytest.approx(value, rel=1e-6)
        again = MeanSquareAdagrad([x], lr=0.5)
        again.load_state_dict(optimizer.state_dict())
        optimizer = again


def test_vectors_are_not_decayed_and_rates_have_factors() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    config = Config(weight_decay=0.1, rates=(("3.*", 10.0),))
    groups = build_optimizer(model, config).param_groups
    found = {id(p): (g["weight_decay"], g["rate_factor"]) for g in groups for p in g["params"]}
    expected = {"0.weight": (0.1, 1.0), "0.bias": (0.0, 1.0), "1.weight": (0.0, 1.0), "1.bias": (0.0, 1.0),
                "3.weight": (0.1, 10.0), "3.bias": (0.0, 10.0)}  # fmt: skip
    assert {name: found[id(p)] for name, p in model.named_parameters()} == expected


@pytest.mark.parametrize("name", RECIPES)
def test_a_config_survives_json(name: str) -> None:
    config = replace(recipe(name), milestones=(1.0, 2.5), rates=(("head.*", 2.0),), image_size=(32, 48))
    assert from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_settings_from_text() -> None:
    config = overridden(Config(), ["learning_rate=1", "augmentation.flip=true", "model=resnet18", "freeze=stages.*",
                                   "image_size=[64,48]", "ema=0.9", "threads=None", "milestones=3"])  # fmt: skip
    assert (config.learning_rate, config.model, config.freeze, config.image_size) == (
        1.0,
        "resnet18",
        ("stages.*",),
        (64, 48),
    )
    assert config.augmentation == Augmentation(flip=True)
    assert config.milestones == (3.0,)
    assert config.threads is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("learning_rte=1", "learning_rate"),
        ("learning_rate", "key=value"),
        ("learning_rate=fast", "learning_rate"),
        ("epochs=1.5", "epochs"),
        ("epochs=true", "epochs"),
        ("augmentation.flp=true", "augmentation.flip"),
        ("image_size=[1,2,3]", "image_size"),
        ("compile=1", "compile"),
        ("schedule=cosin", "cosine"),
        ("epochs=0", "epochs=0"),
        ("accumulate=100", "accumulate"),
        ("warmup_epochs=-1", "warmup_epochs"),
    ],
)
def test_settings_that_cannot_be_are_named(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        overridden(Config(), [text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
        ({"trackers": ("telegraph",)}, "telegraph"),
        ({"optimizer": "nadir"}, "nadir"),
    ],
)
def test_settings_out_of_range_are_named(setting: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        Config(**setting)


def _airfoil() -> tuple[torch.Tensor, torch.Tensor]:
    here = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("TORCHWELD_DATA", here)) / "airfoil_self_noise"
    if not folder.exists():
        pytest.skip("needs the airfoil data in the folder that TORCHWELD_DATA names")
    rows = np.loadtxt(folder / "airfoil_self_noise.dat")
    rows = (rows - rows.mean(0)) / rows.std(0)
    rows = torch.tensor(rows[:1500], dtype=torch.float32)
    return rows[:, :-1], rows[:, -1]


@pytest.mark.data
@pytest.mark.parametrize(
    ("optimizer", "settings", "published"),
    [
        (torch.optim.SGD, {"lr": 0.05}, 0.2455),
        (torch.optim.Adagrad, {"lr": 0.1}, 0.2431),
        (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9}, 0.2437),
        (torch.optim.Adam, {"lr": 0.01}, 0.2421),
    ],
)
def test_the_notes_trainer_reaches_the_published_losses(optimizer: type, settings: dict, published: float) -> None:
    """Each figure is of one order of the samples: the median of five orders may be above it by chance alone."""
    features, labels = _airfoil()
    losses = sorted(fit_linear(optimizer, settings, features, labels, seed=seed).loss for seed in range(5))
    assert losses[2] <= published + 0.002
    assert min(losses) >= 0.241688 - 1e-5  # the least-squares floor


@pytest.mark.data
def test_the_largest_stable_rate_of_full_batches() -> None:
    features, labels = _airfoil()
    settings = {"features": features, "labels": labels, "batch_size": 1500, "num_epochs": 300}
    assert fit_linear(torch.optim.SGD, {"lr": 0.94}, **settings).loss < 0.25
    assert not fit_linear(torch.optim.SGD, {"lr": 0.97}, **settings).loss < 0.25


@given(st.integers(1, 130), st.integers(20, 330))
def test_losses_are_recorded_at_each_hundred_whatever_the_batch(batch_size: int, count: int) -> None:
    x = torch.randn(count, 2)
    fit = fit_linear(torch.optim.SGD, {"lr": 1e-3}, x, x[:, 0], batch_size=batch_size, num_epochs=2)
    assert fit.samples[0] == 0
    assert fit.samples[-1] == 2 * count
    passed = {seen // 100 for seen in fit.samples}
    assert len(fit.losses) == len(fit.samples)
    # Every multiple of 100 that was reached has a record before the next one is.
    reached = {
        n
        for n in range(2 * count // 100 + 1)
        if any(n * 100 <= s < n * 100 + max(100, batch_size) for s in fit.samples)
    }
    assert passed <= reached
    assert len(fit.samples) >= min(2 * count // 100, 2 * count // batch_size)


def test_the_plot_is_written_and_misfits_are_refused(tmp_path: Path) -> None:
    x = torch.randn(40, 2)
    fit_linear(torch.optim.SGD, {"lr": 0.1}, x, x[:, 0]).plot(tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 5000
    for bad in (
        {"features": x, "labels": x},
        {"features": x[0], "labels": x[0]},
        {"features": x, "labels": x[:, 0], "batch_size": 0},
    ):
        with pytest.raises(InputError):
            fit_linear(torch.optim.SGD, {"lr": 0.1}, **bad)
