"""How far a core reaches: the gradient of the last output to an input, by depth and by distance, and the way it takes.

    depth      || d y_last / d x_first ||  for 1, 2, ... layers: 0 until the layers reach so far
    distance   || d y_last / d x_{last - distance} ||  at one depth
    path       the shortest chain of operations from the first input to the last output, at the least depth that reaches

The claims are those of Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, table 1 (stacked convolutions without
dilation), and the vanishing gradient of Bengio et al. 1994, https://doi.org/10.1109/72.279181.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.diagnosis.sequence.cost import Growth, exponent
from torchweld.diagnosis.sequence.findings import Finding, judged
from torchweld.models.sequence import Encoder, Layer, Sizes, mixer

_FEATURES, _KERNEL, _PROBES = 16, 5, 4
_DEPTHS, _DEPTH_LENGTH = tuple(range(1, 11)), 17
_DISTANCES, _DISTANCE_LENGTH, _DISTANCE_DEPTH = (1, 2, 4, 8, 16, 32, 63), 64, 2
_PATH_LENGTHS = (17, 33, 65, 129)
_PATH_CLAIMS = {"cnn": 1, "gru": 1, "transformer": 0}


@dataclass(frozen=True)
class Reach:
    """Gradient norms of one core, by number of layers over `length` positions, and by distance."""

    core: str
    length: int
    depths: tuple[int, ...]
    by_depth: tuple[float, ...]
    distances: tuple[int, ...]
    by_distance: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def reach(core: str, seed: int = 0) -> Reach:
    """Gradients of fresh networks in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        by_depth = [float(_gradients(core, depth, _DEPTH_LENGTH)[0]) for depth in _DEPTHS]
        far = _gradients(core, _DISTANCE_DEPTH, _DISTANCE_LENGTH)
    by_distance = [float(far[_DISTANCE_LENGTH - 1 - d]) for d in _DISTANCES]
    return Reach(core, _DEPTH_LENGTH, _DEPTHS, tuple(by_depth), _DISTANCES, tuple(by_distance))


def path_lengths(core: str, seed: int = 0) -> Growth:
    """Operations on the shortest way from the first input to the last output, at several lengths."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = [float(_path(core, n)) for n in _PATH_LENGTHS]
    return Growth("path", core, _PATH_LENGTHS, tuple(found), exponent(_PATH_LENGTHS, found))


def _encoder(core: str, depth: int) -> Encoder:
    sizes = Sizes(1, 1, features=_FEATURES, kernel=_KERNEL)
    return Encoder([mixer(core, sizes, causal=False) for _ in range(depth)]).double().eval()


def _gradients(core: str, depth: int, length: int) -> Tensor:  # (T,)
    """The norm of the last output's Jacobian by each input position, from random directions (Hutchinson)."""
    x = torch.randn(1, length, _FEATURES, dtype=torch.float64, requires_grad=True)
    last = _encoder(core, depth)(x)[0, -1]
    total = torch.zeros(length, dtype=torch.float64)
    for _ in range(_PROBES):
        (gradient,) = torch.autograd.grad(last, x, torch.randn_like(last), retain_graph=True)
        total += gradient[0].square().sum(-1)
    return (total / _PROBES).sqrt()


def _path(core: str, length: int) -> int:
    high = 1
    while not _gradients(core, high, length)[0] > 0:
        high *= 2
    low = high // 2 + 1
    while low < high:
        middle = (low + high) // 2
        if _gradients(core, middle, length)[0] > 0:
            high = middle
        else:
            low = middle + 1
    first = torch.randn(1, 1, _FEATURES, dtype=torch.float64, requires_grad=True)
    rest = torch.randn(1, length - 1, _FEATURES, dtype=torch.float64)
    if core == "gru":  # in one call the record joins all positions at its first operation, and would show a short cut
        return _hops(_last_of_steps(core, first, rest), first)
    return _hops(_encoder(core, low)(torch.cat((first, rest), 1))[0, -1], first)


def _last_of_steps(core: str, first: Tensor, rest: Tensor) -> Tensor:
    """The last output of one causal layer that is handed one position at a time, and its state from step to step."""
    layer = Layer(mixer(core, Sizes(1, 1, features=_FEATURES), causal=True), looks=False).double().eval()
    y, state = layer(first)
    for x in rest.split(1, 1):
        y, state = layer(x, past=state)
    return y[0, -1]


def _hops(y: Tensor, x: Tensor) -> int:
    """Breadth first through autograd's record; the leaf x is where a node accumulates into it."""
    seen: set[Any] = {y.grad_fn}
    line: deque[tuple[Any, int]] = deque([(y.grad_fn, 0)])
    while line:
        node, hops = line.popleft()
        if getattr(node, "variable", None) is x:
            return hops
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                line.append((child, hops + 1))
    raise AssertionError("no way leads from the output to the input")


def reach_findings(reached: Sequence[Reach], paths: Sequence[Growth]) -> tuple[Finding, ...]:
    """Reach and its loss, and path lengths, against what is said of them."""
    made = []
    for path in paths:
        power = _PATH_CLAIMS[path.core]
        claim = "grows with n" if power else "does not grow with n"
        verdict = judged(abs(path.exponent - power) <= 0.15)
        made.append(Finding("path length", path.core, claim, path.ends(), verdict))
    for r in reached:
        first = next((d for d, g in zip(r.depths, r.by_depth, strict=True) if g > 0), None)
        needed = -(-(r.length - 1) // (_KERNEL // 2)) if r.core == "cnn" else 1
        claim = f"n={r.length} needs {needed} layer{'s' * (needed > 1)}"
        said = f"gradient 0 below depth {first}" if first != 1 else "gradient not 0 at depth 1"
        made.append(Finding("reach", r.core, claim, said, judged(first == needed)))
        made += _fading(r)
    return tuple(made)


def _fading(r: Reach) -> list[Finding]:
    """What is left of the gradient at the far end; a CNN's reach has ended long before."""
    near, far = r.by_distance[0], r.by_distance[-1]
    said = f"{far / near:.1g} of the near, at distance {r.distances[-1]}"
    if r.core == "gru":
        return [Finding("far gradient", r.core, "vanishes with the distance", said, judged(far / near < 1e-3))]
    if r.core == "transformer":
        return [Finding("far gradient", r.core, "as large as the near", said, judged(1 / 3 < far / near < 3))]
    return []
