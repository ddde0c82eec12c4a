"""Augmentation: geometry that is exact where it can be, masks that move with their images and gain no class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchweld.core import InputError
from torchweld.data import Augmentation
from torchweld.data.erasing import rectangles
from torchweld.data.geometry import moved
from torchweld.data.moves import Moves

from .files import pixels

ROWS = np.arange(40)
BORDERS = st.sampled_from(["repeat", "reflect"])


def images(channels: int = 3, height: int = 9, width: int = 9) -> torch.Tensor:
    return torch.from_numpy(pixels((40, channels, height, width)))


def masks(height: int = 9, width: int = 9, classes: int = 5) -> torch.Tensor:
    return torch.from_numpy(pixels((40, height, width), 7) % classes)


@given(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 4), BORDERS, st.integers(0, 99))
def test_looking_up_pixels_and_sampling_them_agree(
    flip: bool, vertical: bool, turn: bool, shift: int, border: str, seed: int
) -> None:
    """Two independent ways of the same moves: whole-pixel indices, and affine_grid with grid_sample."""
    what = Augmentation(flip=flip, flip_vertical=vertical, turn=turn, shift_pixels=shift, border=border)
    moves = Moves.drawn(what, ROWS, seed, 0, (9, 9))
    exact = moved(images(), masks(), moves, False, border)
    sampled = moved(images(), masks(), moves, True, border)
    assert exact[0].dtype == torch.uint8
    torch.testing.assert_close(exact[0].float(), sampled[0], rtol=0, atol=0.01)
    assert exact[1] is not None
    assert sampled[1] is not None
    assert torch.equal(exact[1], sampled[1])


def test_flips_turns_and_shifts_are_those_of_numpy() -> None:
    source = images()[:, :1]
    for what, choices in (
        (Augmentation(flip=True), [lambda x: x, np.fliplr]),
        (Augmentation(flip_vertical=True), [lambda x: x, np.flipud]),
        (Augmentation(turn=True), [lambda x, k=k: np.rot90(x, k) for k in range(4)]),
    ):
        out = what.apply(source, torch.zeros(40), ROWS, 0, 0)[0]
        used = set()
        for before, after in zip(source[:, 0].numpy(), out[:, 0].numpy(), strict=True):
            same = [i for i, choice in enumerate(choices) if np.array_equal(choice(before), after)]
            assert len(same) == 1
            used.add(same[0])
        assert used == set(range(len(choices)))  # each choice occurs


@pytest.mark.parametrize("border", ["repeat", "reflect"])
def test_shifts_fill_as_numpy_pads(border: str) -> None:
    what = Augmentation(shift_pixels=3, border=border)
    source = images(2, 8, 6)
    out = what.apply(source, torch.zeros(40), ROWS, 1, 0)[0]
    moves = Moves.drawn(what, ROWS, 1, 0, (8, 6)).shift
    assert set(np.unique(moves)) == set(range(-3, 4))
    mode: Any = {"repeat": "edge", "reflect": "symmetric"}[border]
    for before, after, (down, right) in zip(source.numpy(), out.numpy(), moves, strict=True):
        padded = np.pad(before, ((0, 0), (3, 3), (3, 3)), mode=mode)
        assert np.array_equal(after, padded[:, 3 - down : 11 - down, 3 - right : 9 - right])


@given(st.floats(0, 180), st.floats(0, 60), st.tuples(st.floats(0.2, 1), st.floats(1, 2)), BORDERS, st.integers(0, 99))
def test_masks_move_with_their_images_and_gain_no_class(
    rotate: float, shear: float, crop: tuple[float, float], border: str, seed: int
) -> None:
    """The complaint: masks interpolated, so that classes appear between two others."""
    what = Augmentation(flip=True, rotate_degrees=rotate, shear_degrees=shear, crop=crop, border=border)
    labels = masks() * 50  # values far apart: anything between them is no class
    out, moved_masks = what.apply(images(), labels, ROWS, seed, 0)
    assert moved_masks.dtype == torch.uint8
    assert set(moved_masks.unique().tolist()) <= set(labels.unique().tolist())
    assert out.isfinite().all()


def test_a_mask_made_from_its_image_stays_so_under_any_geometry() -> None:
    """Upper half bright, mask the same half: at every pixel not at the edge they agree after moving."""
    image = torch.zeros(40, 1, 32, 32, dtype=torch.uint8)
    image[:, :, :16] = 255
    mask = (image[:, 0] > 0).to(torch.uint8)
    what = Augmentation(rotate_degrees=180, shear_degrees=20, crop=(0.4, 1.2), shift_pixels=3, turn=True, flip=True)
    out, moved_mask = what.apply(image, mask, ROWS, 0, 0)
    sure = (out[:, 0] < 1) | (out[:, 0] > 254)
    assert sure.float().mean() > 0.8
    assert torch.equal((out[:, 0] > 127)[sure], (moved_mask > 0)[sure])
    assert not torch.equal(moved_mask, mask)


def test_cropping_shows_the_share_that_was_asked_for() -> None:
    """On a ramp the mean step between neighbouring pixels is the zoom: the root of the area's share."""
    ramp = torch.arange(64.0).expand(40, 1, 64, 64)
    out, _ = Augmentation(crop=(0.25, 0.25)).apply(ramp, torch.zeros(40), ROWS, 0, 0)
    inner = out[..., 4:-4]
    torch.testing.assert_close(inner.diff(dim=-1), torch.full_like(inner[..., 1:], 0.5), rtol=0, atol=1e-3)


def test_colours_at_their_ends() -> None:
    source = images()
    for name in ("brightness", "contrast", "saturation"):
        out = Augmentation(**{name: 1.0}).apply(source, torch.zeros(40), ROWS, 0, 0)[0]
        assert out.dtype == torch.float32
        assert out.min() >= 0
        assert out.max() <= 255
        assert not torch.equal(out, source.float())
    grey = Augmentation(saturation=1.0).apply(images(1), torch.zeros(40), ROWS, 0, 0)[0]
    torch.testing.assert_close(grey, images(1).float(), rtol=0, atol=1e-3)


def test_brightness_scales_by_a_factor_in_its_range() -> None:
    source = torch.full((40, 3, 4, 4), 100, dtype=torch.uint8)
    out = Augmentation(brightness=0.25).apply(source, torch.zeros(40), ROWS, 0, 0)[0]
    factors = out.flatten(1).mean(1) / 100
    assert factors.min() >= 0.75
    assert factors.max() <= 1.25
    assert factors.std() > 0.05


def test_erasing_fills_a_rectangle_with_the_mean_and_leaves_masks() -> None:
    source, labels = images(3, 20, 20), masks(20, 20)
    out, kept = Augmentation(erase=0.5).apply(source, labels, ROWS, 0, 0)
    assert torch.equal(kept, labels)
    changed = (out != source).any(1).flatten(1)
    share = changed.float().mean(1)
    touched = share > 0
    assert 8 < touched.sum() < 32
    assert share[touched].max() <= 0.36
    for image, before, where in zip(out[touched], source[touched], changed[touched], strict=True):
        mean = before.float().mean((1, 2)).to(torch.uint8)
        assert torch.equal(image.flatten(1)[:, where], mean[:, None].expand(-1, int(where.sum())))


@given(st.floats(0.0, 1.0), st.floats(0.2, 5.0), st.floats(0, 0.999), st.floats(0, 0.999))
def test_a_rectangle_lies_inside_and_has_its_area(area: float, aspect: float, y: float, x: float) -> None:
    inside = rectangles(np.array([area]), np.array([aspect]), np.array([[y, x]]), 30, 20)[0]
    rows, columns = inside.any(1).sum().item(), inside.any(0).sum().item()
    assert inside.sum() == rows * columns  # one solid rectangle
    if np.sqrt(area * aspect) <= 1 and np.sqrt(area / aspect) <= 1:
        assert abs(rows - max(1, 30 * np.sqrt(area * aspect))) <= 0.5 + 1e-6
        assert abs(columns - max(1, 20 * np.sqrt(area / aspect))) <= 0.5 + 1e-6


def test_turning_one_on_leaves_the_draws_of_the_others() -> None:
    alone = Moves.drawn(Augmentation(flip=True, shift_pixels=2), ROWS, 3, 1, (9, 9))
    more = Augmentation(flip=True, shift_pixels=2, rotate_degrees=9, crop=(0.5, 1.0), flip_vertical=True)
    among = Moves.drawn(more, ROWS, 3, 1, (9, 9))
    assert np.array_equal(alone.flip_columns, among.flip_columns)
    assert np.array_equal(alone.shift, among.shift)
    assert among.flip_rows.any()


def test_off_is_nothing_at_all() -> None:
    source, labels = images(), masks()
    out, kept = Augmentation().apply(source, labels, ROWS, 0, 0)
    assert out is source
    assert kept is labels


@pytest.mark.parametrize(
    "wrong",
    [
        {"erase": 1.5},
        {"brightness": -0.1},
        {"mixup": -1.0},
        {"cutmix": float("nan")},
        {"shift_pixels": 1.5},
        {"shift_pixels": -1},
        {"rotate_degrees": 200.0},
        {"shear_degrees": 80.0},
        {"crop": (0.0, 1.0)},
        {"crop": (1.0, 0.5)},
        {"crop": (0.5, float("nan"))},
        {"border": "wrap"},
    ],
)
def test_values_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augmentation(**wrong)


def test_moves_that_the_images_do_not_allow() -> None:
    with pytest.raises(InputError, match="9x7"):
        Augmentation(turn=True).apply(images(1, 9, 7), torch.zeros(40), ROWS, 0, 0)
    with pytest.raises(InputError, match="shift_pixels=7"):
        Augmentation(shift_pixels=7).apply(images(1, 9, 7), torch.zeros(40), ROWS, 0, 0)
