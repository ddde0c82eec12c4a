"""Images with masks: `NAME.*` and `NAME_mask.png`, in one folder or in `images/` and `masks/`.

NAME is all before the last dot, so it may have dots of its own. In `masks/` the mask may be called just `NAME.png`.
"""

from __future__ import annotations

from pathlib import Path

from torchweld.data.listing import Listing, images_in
from torchweld.data.problem import Problem

MARK = "_mask"
_LOSSY = {".jpg", ".jpeg", ".jfif", ".jpe"}


def pairs(root: Path) -> Listing:
    """Each image with its mask, by name; what is missing, doubled or lossy is a problem."""
    apart = (root / "images").is_dir() and (root / "masks").is_dir()
    if apart:
        images, masks = images_in(root / "images"), images_in(root / "masks")
    else:
        found = images_in(root)
        masks = [path for path in found if path.stem.endswith(MARK)]
        images = [path for path in found if not path.stem.endswith(MARK)]
    problems: list[Problem] = []
    by_name = _by_name(masks, "mask", problems)
    kept: list[Path] = []
    for name, image in _by_name(images, "image", problems).items():
        if name in by_name:
            kept.append(image)
        else:
            where = root / "masks" if apart else root
            problems.append(Problem(str(image), "has no mask", f"add {where / (name + MARK + '.png')}"))
    named = {image.stem for image in images}
    for name, mask in by_name.items():
        if name not in named:
            problems.append(Problem(str(mask), f"mask without an image {name}.*", "add the image, or remove the mask"))
        if mask.suffix.lower() in _LOSSY:
            problems.append(Problem(str(mask), "JPEG blurs the values of a mask", "save masks as PNG"))
    return Listing(root, tuple(kept), masks=tuple(by_name[image.stem] for image in kept), problems=tuple(problems))


def _by_name(files: list[Path], kind: str, problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        name = path.stem.removesuffix(MARK) if kind == "mask" else path.stem
        if name in found:
            problems.append(Problem(str(path), f"a second {kind} {name!r}, beside {found[name].name}", "keep one"))
        else:
            found[name] = path
    return found
