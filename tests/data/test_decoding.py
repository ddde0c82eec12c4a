"""One file to numbers: every kind of pixel, upright, in the order red, green, blue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from torchweld.data.decoding import BROKEN, decoded, decoded_mask, fitted_mask, header

from .files import pixels, save

SIZE = (5, 7)


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    """The mistake: OpenCV's blue, green, red taken as red, green, blue."""
    path = save(tmp_path / "red.png", np.broadcast_to(np.array([250, 20, 3], np.uint8), (*SIZE, 3)).copy())
    assert decoded(path, SIZE, 3)[:, 0, 0].tolist() == [250, 20, 3]


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".TIFF", ".webp", ".ppm", ".gif"])
def test_formats_by_any_name(tmp_path: Path, suffix: str) -> None:
    grey = pixels(SIZE)
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", grey, **options)
    assert np.abs(decoded(path, SIZE, 1)[0].astype(int) - grey).max() <= 1  # webp goes by way of RGB


def test_grey_becomes_colour_and_back(tmp_path: Path) -> None:
    grey = pixels(SIZE)
    path = save(tmp_path / "a.png", grey)
    assert np.array_equal(decoded(path, SIZE, 3), np.repeat(grey[None], 3, 0))
    assert not header(path).colour
    coloured = save(tmp_path / "b.png", pixels((*SIZE, 3)))
    assert decoded(coloured, SIZE, 1).shape == (1, *SIZE)
    assert header(coloured).colour


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        path = save(tmp_path / name, values)
        assert decoded(path, (1, 6), 1)[0, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_what_is_transparent_is_blended_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[0, :, 3] = 255  # below, hidden red at alpha 0
    path = save(tmp_path / "a.png", rgba)
    out = decoded(path, (2, 2), 3)
    assert out[:, 0, 0].tolist() == [200, 0, 0]
    assert out[:, 1, 0].tolist() == [255, 255, 255]
    assert np.array_equal(decoded(path, (2, 2), 4), rgba.transpose(2, 0, 1))


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    source = np.array([[[10, 200, 30], [250, 0, 90]]], np.uint8)
    image = Image.fromarray(source).quantize(2)
    image.save(tmp_path / "a.png")
    assert header(tmp_path / "a.png").mode == "P"
    assert np.array_equal(decoded(tmp_path / "a.png", (1, 2), 3), source.transpose(2, 0, 1))
    assert header(tmp_path / "a.png").colour


@pytest.mark.parametrize(("orientation", "turned"), [(1, False), (3, False), (6, True), (8, True)])
def test_exif_orientation_stands_images_upright(tmp_path: Path, orientation: int, turned: bool) -> None:
    source = pixels((4, 8, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", source, exif=exif)
    size = (8, 4) if turned else (4, 8)
    assert (header(path).height, header(path).width) == size
    expected = np.rot90(source, {1: 0, 3: 2, 6: 3, 8: 1}[orientation])
    assert np.array_equal(decoded(path, size, 3), expected.transpose(2, 0, 1))


def test_another_size_covers_keeps_its_aspect_and_shows_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((10, 40), np.uint8)
    wide[:, 15:25] = 200  # the middle square
    path = save(tmp_path / "a.png", wide)
    assert decoded(path, (5, 5), 1).min() > 180


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    out = decoded(save(tmp_path / "a.png", stripes), (8, 8), 1)
    assert np.abs(out.astype(int) - 127).max() < 20  # grey, and neither black nor white


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_a_resized_mask_has_the_values_it_had(height: int, width: int, tall: int, wide: int) -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint16), (height, width))
    out = fitted_mask(mask, (tall, wide))
    assert out.shape == (tall, wide)
    assert set(np.unique(out)) <= set(np.unique(mask))


def test_a_resized_mask_shows_what_its_image_shows(tmp_path: Path) -> None:
    mask = np.zeros((30, 50), np.uint8)
    mask[5:20, 10:33] = 255
    path = save(tmp_path / "a.png", mask)
    image = decoded(path, (12, 16), 1)[0]
    agree = (image > 127) == (fitted_mask(mask, (12, 16)) > 0)
    assert agree[(image < 5) | (image > 250)].all()
    assert agree.mean() > 0.95


def test_mask_values_are_the_files(tmp_path: Path) -> None:
    grey = np.array([[0, 1, 254, 255]], np.uint8)
    assert decoded_mask(save(tmp_path / "grey.png", grey)).tolist() == grey.tolist()
    wide = np.array([[0, 300, 65535]], np.uint16)
    assert decoded_mask(save(tmp_path / "wide.png", wide)).tolist() == wide.tolist()
    palette = Image.fromarray(np.array([[2, 0, 1]], np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    assert decoded_mask(tmp_path / "palette.png").tolist() == [[2, 0, 1]]
    as_rgb = np.repeat(grey[:, :, None], 3, 2)
    assert decoded_mask(save(tmp_path / "rgb.png", as_rgb)).tolist() == grey.tolist()
    with pytest.raises(ValueError, match="colours"):
        decoded_mask(save(tmp_path / "colour.png", pixels((3, 3, 3))))
    one_bit = Image.fromarray(grey).convert("1", dither=Image.Dither.NONE)
    one_bit.save(tmp_path / "bit.png")
    assert decoded_mask(tmp_path / "bit.png").tolist() == [[0, 0, 255, 255]]


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_a_truncated_file_is_an_error_of_a_known_kind(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", pixels((40, 40, 3)))
    content = path.read_bytes()
    for share in (0, 0.01, 0.3, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(BROKEN):
            decoded(path, (40, 40), 3)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.full(SIZE, 0.5, np.float32))
    with pytest.raises(ValueError, match="floating-point"):
        decoded(path, SIZE, 1)
