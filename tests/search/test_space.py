"""Search spaces: what text says, what a config can take, and that Optuna and the operators mean the same points."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld import data
from torchweld.core import InputError
from torchweld.genetic import Category, Integer, Real
from torchweld.search import Space, changed, parsed, space_for
from torchweld.training import Config, recipe

from .quick import MIXED


def test_text_becomes_genes_of_the_settings_type() -> None:
    found = parsed(
        ["learning_rate=0.001:1:log", "batch_size=16:64", "dropout=0:0.5", "expand=none,rep",
         "augmentation.flip=true,false", "smoothing=0,0.1", "augmentation.shift_pixels=0:3"]
    )  # fmt: skip
    assert found == {
        "learning_rate": Real(0.001, 1.0, log=True),
        "batch_size": Integer(16, 64),
        "dropout": Real(0.0, 0.5),
        "expand": Category((None, "rep")),
        "augmentation.flip": Category((True, False)),
        "smoothing": Category((0, 0.1)),
        "augmentation.shift_pixels": Integer(0, 3),
    }


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("lerning_rate=0.1:1", "learning_rate"),
        ("augmentation.flop=true,false", "augmentation.flip"),
        ("learning_rate=1:0.1", "lower bound"),
        ("learning_rate=0:0.1:log", "positive lower bound"),
        ("learning_rate=0.1:x", "numbers"),
        ("learning_rate=0.1:nan", "finite"),
        ("learning_rate=0.1:1:lin", "low:high:log"),
        ("learning_rate=0.1", "--set"),
        ("batch_size=1.5:3", "whole number"),
        ("model=1:3", "list its values"),
        ("model=mlp,mlp", "two different"),
        ("milestones=1,2", "only numbers"),
        ("learning_rate", "key=low:high"),
    ],
)
def test_text_that_says_nothing_is_refused_by_name(setting: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as raised:
        parsed([setting])
    assert setting.partition("=")[0] in str(raised.value)


def test_a_space_must_make_configs() -> None:
    with pytest.raises(InputError, match="dropout"):
        Space({"dropout": Real(0.0, 1.5)}).check(Config())
    with pytest.raises(InputError, match="optimizer"):
        Space({"optimizer": Category(("sgd", "sdg"))}).check(Config())
    with pytest.raises(InputError, match="empty"):
        Space({})


def test_settings_are_changed_by_dotted_name() -> None:
    made = changed(Config(), {"augmentation.erase": 0.3, "learning_rate": 0.2, "expand": "rep"})
    assert (made.augmentation.erase, made.learning_rate, made.expand) == (0.3, 0.2, "rep")
    assert changed(made, {"augmentation.erase": 0.0, "learning_rate": 0.1, "expand": None}) == Config()
    with pytest.raises(InputError, match="learning_rate"):
        changed(Config(), {"learning_rate.x": 1})


@given(st.integers(0, 2**32 - 1))
def test_points_survive_the_way_to_the_operators_and_back(seed: int) -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()
    values = MIXED.suggested(trial)
    encoding = MIXED.encoding()
    row = encoding.encode(torch.tensor([MIXED.solution(values)], dtype=torch.float64))
    back = encoding.values(encoding.decode(row)[0])
    assert back.pop("optimizer") == values.pop("optimizer")
    assert back == pytest.approx(values, rel=1e-12)


def test_the_space_that_is_taken_suits_the_task() -> None:
    splits = data.read("digits")
    config = replace(recipe("digits"), epochs=6)
    space = space_for(config, splits, {"momentum": Real(0.5, 0.99)}, fixed=["expand"])
    assert {"learning_rate", "warmup_epochs", "weight_decay", "dropout", "dropout_kind", "model",
            "augmentation.erase", "momentum"} < set(space.names)  # fmt: skip
    assert "expand" not in space.names
    assert config.model in space.genes["model"].values  # type: ignore[union-attr]
    space.check(config)
    start = space.point_of(config)
    assert start is not None
    assert changed(config, start) == replace(config, dropout=0.0)
    far = space.point_of(replace(config, learning_rate=99.0))
    assert far is not None
    assert far["learning_rate"] == space.genes["learning_rate"].high  # type: ignore[union-attr]
    assert space.point_of(replace(config, model="vgg11")) is None


def test_every_size_in_the_space_runs_on_the_data(tmp_path: object) -> None:
    from torchweld.models import create

    splits = data.read("digits")
    for name in space_for(recipe("digits"), splits).genes["model"].values:  # type: ignore[union-attr]
        assert create(str(name), 10, 1).eval()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
