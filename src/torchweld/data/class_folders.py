"""A folder a class: `root/CLASS/.../IMAGE`."""

from __future__ import annotations

from pathlib import Path

from torchweld.data.listing import Listing, folders_in, images_below, images_in
from torchweld.data.problem import Problem


def class_folders(root: Path, classes: tuple[str, ...] | None = None) -> Listing:
    """The images of each class; classes are numbered in the order of their names.

    `classes` are those of the training part, whose numbers count: a test part may lack some of them, and its numbers
    are the same for all that.
    """
    folders = folders_in(root)
    known = classes if classes is not None else tuple(folder.name for folder in folders)
    problems = [
        Problem(str(path), "lies outside of every class folder", "move it into one, or away")
        for path in images_in(root)
    ]
    images: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        found = list(images_below(folder))
        if folder.name not in known:
            what = f"class {folder.name!r} is not in the training part ({', '.join(known)})"
            problems.append(Problem(str(folder), what, "rename the folder, or take it out"))
        elif not found:
            problems.append(Problem(str(folder), "class without images", "add some, or remove the folder"))
        else:
            images += found
            labels += [known.index(folder.name)] * len(found)
    if classes is None and len(known) == 1:
        problems.append(Problem(str(root), f"has one class only ({known[0]})", "add a folder for every other class"))
    return Listing(root, tuple(images), tuple(labels), classes=known, problems=tuple(problems))
