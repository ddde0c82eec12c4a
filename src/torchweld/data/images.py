"""Listed image files to arrays: every file looked at, every problem collected, then decoded into the cache.

Shapes: N images, C channels, H and W the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchweld.data.cache import Entry, cache_folder, entry
from torchweld.data.decoding import BROKEN, Header, decoded, decoded_mask, fitted_mask, header
from torchweld.data.listing import Listing
from torchweld.data.moments import sums_of
from torchweld.data.part import Options, Part
from torchweld.data.problem import Problem
from torchweld.data.splits import Dataset
from torchweld.data.stored import written
from torchweld.data.threads import in_windows

_WINDOW, _WINDOW_BYTES = 256, 1 << 26
_MOST_CLASSES = 256
_UNREADABLE = "replace the file, or take it out"


@dataclass(frozen=True)
class _Seen:
    """What a first look at an image and its mask found."""

    header: Header | None
    values: tuple[int, ...] = ()
    problem: Problem | None = None


class _Broken(Exception):
    """Some files broke off while they were decoded: what was written is thrown away."""


def read_images(listing: Listing, options: Options, train: Part | None) -> Part:
    """The part that these files make. Size, channels and mask values come from `train` unless this is it."""
    task = "segment" if listing.masks else "classify"
    mapping = None if train is None else train.mask_values
    if not listing.images:
        return Part(None, task, listing.classes, mapping, listing.problems)
    asked = {
        "task": task,
        "size": options.size,
        "channels": options.channels,
        "mapping": None if mapping is None else sorted(mapping.items()),
    }
    place = entry(listing, asked, cache_folder(options.cache, listing.root))
    facts = place.facts()
    problems = list(listing.problems)
    if facts is None:
        facts, found = _decode(listing, options, mapping, place)
        problems += found
    values = None if facts.get("values") is None else {int(v): c for v, c in facts["values"].items()}
    classes = listing.classes if values is None else tuple(map(str, values))
    sizes, modes = facts.get("sizes", {}), facts.get("modes", {})
    if problems:
        return Part(None, task, classes, values, tuple(problems), sizes=sizes, modes=modes)
    inputs, masks, sums = place.arrays()
    targets = np.array(listing.labels, np.int64) if masks is None else masks
    names = tuple(str(path.relative_to(listing.root)) for path in listing.images)
    return Part(Dataset(inputs, targets, names), task, classes, values, sums=sums, sizes=sizes, modes=modes)


def _decode(
    listing: Listing, options: Options, mapping: Mapping[int, int] | None, place: Entry
) -> tuple[dict[str, Any], list[Problem]]:
    """Fills the cache and says what was found; stores nothing if there are problems."""
    jobs = list(zip(listing.images, listing.masks or [None] * len(listing.images), strict=True))
    seen: list[_Seen] = []
    for some in in_windows(lambda job: _look(*job), jobs, _WINDOW, "looking at files"):
        seen += some
    problems = [look.problem for look in seen if look.problem is not None]
    headers = [look.header for look in seen if look.header is not None]
    if not headers:
        return {}, problems
    sizes = Counter((head.height, head.width) for head in headers)
    size = options.size or min(sizes, key=lambda s: (-sizes[s], s))
    channels = options.channels or (3 if any(head.colour for head in headers) else 1)
    if listing.masks:
        found = _mapped(listing, seen, mapping)
        mapping = found[0]
        problems += found[1]
    facts = {
        "sizes": {f"{h}x{w}": count for (h, w), count in sizes.most_common()},
        "modes": dict(Counter(head.mode for head in headers).most_common()),
        "values": mapping,
    }
    jobs = [job for job, look in zip(jobs, seen, strict=True) if look.header is not None]
    sums: list[np.ndarray[Any, Any]] = []
    try:
        with ExitStack() as stack:
            shape = (len(jobs), channels, *size)
            images = stack.enter_context(written(place.inputs, shape))
            masks = stack.enter_context(written(place.masks, (len(jobs), *size))) if listing.masks else None
            table = _table(mapping)
            window = max(1, min(_WINDOW, _WINDOW_BYTES // (channels * size[0] * size[1])))
            for pairs in in_windows(lambda job: _pair(*job, size, channels, table), jobs, window, "decoding"):
                problems += [pair for pair in pairs if isinstance(pair, Problem)]
                if problems:
                    continue  # the rest is decoded only to find what else is wrong
                good = [pair for pair in pairs if not isinstance(pair, Problem)]
                images(pixels for pixels, _, _ in good)
                sums += [summed for _, _, summed in good]
                if masks is not None:
                    masks(mask for _, mask, _ in good)
            if problems:
                raise _Broken
    except _Broken:
        return facts, problems
    place.complete(facts, np.array(sums))
    return facts, []


def _look(image: Path, mask: Path | None) -> _Seen:
    try:
        head = header(image)
    except BROKEN as error:
        return _Seen(None, problem=Problem(str(image), f"cannot be read ({_said(error)})", _UNREADABLE))
    if mask is None:
        return _Seen(head)
    try:
        values = decoded_mask(mask)
    except BROKEN as error:
        return _Seen(None, problem=Problem(str(mask), f"cannot be read ({_said(error)})", _UNREADABLE))
    if values.shape != (head.height, head.width):
        sizes = f"mask of {values.shape[0]}x{values.shape[1]} for an image of {head.height}x{head.width}"
        return _Seen(None, problem=Problem(str(mask), sizes, "make the mask from this image"))
    return _Seen(head, tuple(np.unique(values).tolist()))


def _mapped(
    listing: Listing, seen: list[_Seen], mapping: Mapping[int, int] | None
) -> tuple[Mapping[int, int], list[Problem]]:
    """Mask values to classes 0, 1, ... in ascending order; or the training part's mapping, and what it lacks."""
    if mapping is not None:
        known = mapping
        return known, [
            Problem(str(mask), f"values {_few(new)} are not in the training masks ({_few(known)})", "mend the mask")
            for mask, look in zip(listing.masks, seen, strict=True)
            if (new := [value for value in look.values if value not in known])
        ]
    values = sorted({value for look in seen for value in look.values})
    problems = []
    if len(values) == 1:
        problems.append(Problem(str(listing.root), f"all masks hold only {values[0]}", "masks need two values or more"))
    if len(values) > _MOST_CLASSES:
        problems.append(Problem(str(listing.root), f"masks hold {len(values)} values", "at most 256 classes"))
        values = values[:_MOST_CLASSES]
    return {value: number for number, value in enumerate(values)}, problems


def _pair(
    image: Path, mask: Path | None, size: tuple[int, int], channels: int, table: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, np.ndarray[Any, Any]] | Problem:
    """An image, its mask in classes, and each channel's sums."""
    try:
        pixels = decoded(image, size, channels)
    except BROKEN as error:
        return Problem(str(image), f"cannot be decoded ({_said(error)})", _UNREADABLE)
    return pixels, None if mask is None else table[fitted_mask(decoded_mask(mask), size)], sums_of(pixels)


def _table(mapping: Mapping[int, int] | None) -> np.ndarray[Any, Any]:
    table = np.zeros(1 << 16, np.uint8)
    for value, number in (mapping or {}).items():
        table[value] = number
    return table


def _said(error: BaseException) -> str:
    return str(error).splitlines()[0].split(" '/")[0] if str(error) else type(error).__name__


def _few(values: Any) -> str:
    shown = [str(value) for value in values]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
