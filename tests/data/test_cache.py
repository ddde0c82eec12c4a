"""The cache: decoded once, mapped, rebuilt when anything changed, never whole in memory, never among the data."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchweld import data
from torchweld.core import InputError
from torchweld.data import images

from .files import class_set, pair_set, pixels, save


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded, in order."""
    done: list[Path] = []
    real = images.decoded

    def counted(path: Path, *rest: Any) -> Any:
        done.append(path)
        return real(path, *rest)

    monkeypatch.setattr(images, "decoded", counted)
    return done


def test_images_are_decoded_once(tmp_path: Path, decodings: list[Path]) -> None:
    pair_set(tmp_path, ["a", "b"])
    first = data.read(tmp_path)
    assert len(decodings) == 2
    second = data.read(tmp_path)
    assert len(decodings) == 2
    assert np.array_equal(first.train.inputs, second.train.inputs)
    assert first.mask_values == second.mask_values == {0: 0, 255: 1}
    assert first.scale == second.scale
    assert first.sizes == second.sizes


def test_nothing_is_written_among_the_data(tmp_path: Path, own_cache: Path) -> None:
    class_set(tmp_path, {"a": 2, "b": 2})
    before = sorted(tmp_path.rglob("*"))
    data.read(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert list(own_cache.rglob("inputs.npy"))
    with pytest.raises(InputError, match="inside the data"):
        data.read(tmp_path, cache=tmp_path / "cache")


def test_a_cache_of_ones_own_choice(tmp_path: Path) -> None:
    class_set(tmp_path / "set", {"a": 2, "b": 2})
    data.read(tmp_path / "set", cache=tmp_path / "mine")
    assert list((tmp_path / "mine").rglob("inputs.npy"))


@pytest.mark.parametrize("change", ["content", "added", "removed", "time"])
def test_a_changed_folder_is_decoded_again(tmp_path: Path, decodings: list[Path], change: str) -> None:
    class_set(tmp_path, {"a": 3, "b": 2})
    old = np.asarray(data.read(tmp_path, holdout=0).train.inputs)
    count = len(decodings)
    target = tmp_path / "a" / "0.png"
    if change == "content":
        save(target, pixels((6, 5), 99))
    elif change == "added":
        save(tmp_path / "a" / "new.png", pixels((6, 5), 99))
    elif change == "removed":
        target.unlink()
    else:
        os.utime(target, ns=(1, 1))
    new = np.asarray(data.read(tmp_path, holdout=0).train.inputs)
    assert len(decodings) > count
    assert np.array_equal(old, new) == (change == "time")


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "json", "absent", "version"])
def test_a_damaged_cache_is_built_again(tmp_path: Path, own_cache: Path, damage: str) -> None:
    class_set(tmp_path, {"a": 3, "b": 2})
    whole = np.array(data.read(tmp_path, holdout=0).train.inputs)
    stored, facts = next(own_cache.rglob("inputs.npy")), next(own_cache.rglob("facts.json"))
    content = stored.read_bytes()
    if damage == "cut":
        stored.write_bytes(content[:-7])
    elif damage == "emptied":
        stored.write_bytes(b"")
    elif damage == "flipped":
        stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "json":
        facts.write_text("{")
    elif damage == "absent":
        stored.unlink()
    else:
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "version": 0}))
    assert np.array_equal(data.read(tmp_path, holdout=0).train.inputs, whole)
    assert stored.read_bytes() == content


def test_other_options_have_a_cache_of_their_own(tmp_path: Path, decodings: list[Path]) -> None:
    class_set(tmp_path, {"a": 2, "b": 2})
    for size in (4, 3, 4):
        assert data.read(tmp_path, holdout=0, image_size=size).train.inputs.shape[2:] == (size, size)
    assert len(decodings) == 8
    for seed in (1, 2, 3):  # what is held out is no reason to decode
        data.read(tmp_path, image_size=4, seed=seed, holdout=0.5)
    assert len(decodings) == 8


@pytest.mark.parametrize("holdout", [0.0, 0.4])
def test_the_scale_from_kept_sums_is_that_of_the_pixels(tmp_path: Path, holdout: float) -> None:
    for i in range(10):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", pixels((9, 7, 3), i))
    for _ in range(2):  # decoded, and from the cache
        splits = data.read(tmp_path, holdout=holdout)
        exact = np.asarray(splits.train.inputs, np.float64).transpose(1, 0, 2, 3).reshape(3, -1) / 255
        assert np.allclose(splits.mean, exact.mean(1), rtol=1e-12)
        assert np.allclose(splits.std, exact.std(1), rtol=1e-9)


def test_a_folder_laid_out_anew_is_another_set(tmp_path: Path) -> None:
    pair_set(tmp_path, ["a", "b"])
    assert data.read(tmp_path, holdout=0).task == "segment"
    for path in list(tmp_path.iterdir()):
        path.unlink()
    class_set(tmp_path, {"a": 2, "b": 2})
    splits = data.read(tmp_path, holdout=0)
    assert np.asarray(splits.train.targets).tolist() == [0, 0, 1, 1]


def test_a_failed_decoding_leaves_nothing(tmp_path: Path, own_cache: Path) -> None:
    class_set(tmp_path, {"a": 2, "b": 2})
    content = (tmp_path / "a" / "0.png").read_bytes()
    (tmp_path / "a" / "0.png").write_bytes(content[:-30])
    with pytest.raises(data.BadData, match=r"0\.png"):
        data.read(tmp_path)
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []
    (tmp_path / "a" / "0.png").write_bytes(content)
    assert len(data.read(tmp_path, holdout=0).train) == 4


def test_a_set_is_read_split_measured_and_batched_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 48 MB of pixels at most a third is in Python's and numpy's hands at any time."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    flat = np.zeros((1000, 1000), np.uint8)
    for i in range(48):
        flat[i] = i
        save(tmp_path / "ab"[i % 2] / f"{i}.bmp", flat)
    monkeypatch.setattr(images, "_WINDOW_BYTES", 2_000_000)
    tracemalloc.start()
    try:
        splits = data.read(tmp_path, holdout=0.25)
        for batch in data.Batches(splits.train, splits, 1).epoch(0):
            assert len(batch.rows) == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert splits.train.inputs.nbytes + splits.held_out.inputs.nbytes == 48_000_000
    assert peak < 16_000_000


def test_mapped_arrays_are_pickled_by_name(tmp_path: Path) -> None:
    class_set(tmp_path, {"a": 300, "b": 300})
    for splits in (data.read(tmp_path), data.read(tmp_path, holdout=0)):
        packed = pickle.dumps(splits.train.inputs)
        assert len(packed) < splits.train.inputs.nbytes
        assert np.array_equal(pickle.loads(packed), splits.train.inputs)
    part = data.read(tmp_path, holdout=0).train.inputs[5:9]
    assert np.array_equal(pickle.loads(pickle.dumps(part)), part)


def test_batches_of_a_mapped_set(tmp_path: Path) -> None:
    class_set(tmp_path, {"a": 6, "b": 6})
    splits = data.read(tmp_path, holdout=0.25)
    seen = torch.cat([batch.rows for batch in data.Batches(splits.train, splits, 4).epoch(0)])
    assert sorted(seen.tolist()) == list(range(len(splits.train)))
    batch = next(data.Batches(splits.train, splits, 3, shuffle=False).epoch(0))
    raw = np.asarray(splits.train.inputs[:3], np.float64) / 255
    expected = (raw - splits.mean[0]) / splits.std[0]
    assert np.abs(batch.inputs.numpy() - expected).max() < 1e-5
