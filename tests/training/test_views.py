"""A network trained with `views` averages over them wherever it goes: in the scores, in the folder, after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from torchweld import data
from torchweld.core import InputError
from torchweld.layers.views import one_view, view_count
from torchweld.training import Config, evaluate, load_run, resume, train

from .runs import EVERYTHING, StopAt, assert_same, final_state

VIEWED = Config(model="branched_nano", epochs=2, views=("flip", "flip_vertical"), threads=1, dtype="float32",
                channels_last=False, trackers=())  # fmt: skip


def test_the_scores_are_of_all_views_and_those_of_one_are_told(tmp_path: Path) -> None:
    splits = data.read("digits", holdout=0.2)
    splits = replace(splits, test=splits.held_out)
    run, plain = train(VIEWED, tmp_path / "run", splits=splits), train(replace(VIEWED, views=()), splits=splits)
    assert_same(run.model.state_dict(), plain.model.state_dict())  # nothing is learnt otherwise
    assert plain.test_one_view is None
    assert run.test_one_view == plain.test
    assert run.test is not None
    assert run.test.loss != run.test_one_view.loss
    best = run.history[run.best_epoch - 1]
    assert run.test.loss == pytest.approx(best.held_out_loss, rel=1e-5)

    loaded, _ = load_run(tmp_path / "run")
    assert view_count(loaded) == 4
    assert evaluate(loaded, splits.test, splits) == run.test
    with one_view(loaded):
        assert evaluate(loaded, splits.test, splits) == run.test_one_view


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    config = replace(EVERYTHING, views=("turn",))
    train(config, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", [StopAt(20)])
    assert view_count(resume(tmp_path / "run").model) == 4
    assert_same(final_state(tmp_path / "run"), final_state(tmp_path / "straight"))


def test_what_has_no_such_views_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'mirror' is unknown"):
        replace(VIEWED, views=("mirror",))
    table = tmp_path / "table.csv"
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    table.write_text("a,b,c\n" + "".join(",".join(f"{value:.3f}" for value in row) + "\n" for row in rows.tolist()))
    with pytest.raises(InputError, match="columns of a table"):
        train(replace(VIEWED, data=str(table), task="regress", loss="squared", model="mlp"))
    splits = data.read("digits")
    wide = replace(splits.train, inputs=np.asarray(splits.train.inputs)[:, :, :, :6])
    with pytest.raises(InputError, match="images of 8x6 are not square; leave turn out"):
        train(replace(VIEWED, views=("turn",)), splits=replace(splits, train=wide, held_out=wide))
