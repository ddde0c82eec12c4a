"""The shape walk: what each layer of a network makes of an input, what it costs, what it keeps.

Nothing is computed: the network runs on torch's meta device, where tensors have shapes and no numbers. FLOPs are those
of convolutions, linear layers and matrix products, a multiplication and an addition counted as two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from torchweld.core import InputError


@dataclass(frozen=True)
class Step:
    """One call of one layer. A layer that is called twice has two steps; its parameters count in the first."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    flops: int
    output_bytes: int


@dataclass(frozen=True)
class Walk:
    """All steps, and totals of the whole network; `flops` includes what runs outside the layers listed.

    `parameter_bytes` are parameters and buffers. `activation_bytes` is the sum of the outputs of all innermost layers,
    about what training keeps for the backward pass, without optimiser and gradients.
    """

    input: tuple[int, ...]
    steps: tuple[Step, ...]
    parameters: int
    flops: int
    parameter_bytes: int
    activation_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def walk(model: nn.Module, shape: Sequence[int], depth: int | None = None) -> Walk:
    """Run the network in eval mode on an input of `shape`, batch first. The model is left as it was.

    `depth`: list modules so deep and no deeper (1: the network's own parts), None: the innermost layers. Raises
    `InputError` for an input that the network cannot read and for a depth below 1.

    >>> made = walk(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), (1, 1, 6, 6))
    >>> [(s.name, s.output, s.parameters, s.flops) for s in made.steps]
    [('0', (1, 4, 4, 4), 40, 1152), ('1', (1, 64), 0, 0)]
    """
    if depth is not None and depth < 1:
        raise InputError(f"depth={depth} lists nothing; give 1 or more")
    steps: list[Step] = []
    inner_bytes: list[int] = []
    counter = FlopCounterMode(display=False)
    open_calls: list[int] = []
    seen: set[str] = set()

    def enter(module: nn.Module, _: Any) -> None:
        open_calls.append(counter.get_total_flops())

    def leave(name: str, listed: bool, leaf: bool, module: nn.Module, y: Any) -> None:
        flops = counter.get_total_flops() - open_calls.pop()
        if not isinstance(y, Tensor):
            return
        size = y.numel() * y.element_size()
        if leaf:
            inner_bytes.append(size)
        if listed:
            own = 0 if name in seen else sum(p.numel() for p in module.parameters())
            seen.add(name)
            steps.append(Step(name, type(module).__name__, tuple(y.shape), own, flops, size))

    hooks = []
    for name, module in model.named_modules():
        if not name:
            continue
        leaf = next(module.children(), None) is None
        level = name.count(".") + 1
        listed = leaf if depth is None else level == depth or (leaf and level < depth)
        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(
            module.register_forward_hook(lambda m, _, y, n=name, s=listed, f=leaf: leave(n, s, f, m, y))  # type: ignore[misc]
        )
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    dtype = next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32)
    meta = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    try:
        with torch.no_grad(), counter:
            torch.func.functional_call(model, meta, torch.empty(tuple(shape), dtype=dtype, device="meta"))
    except InputError:
        raise
    except (RuntimeError, IndexError, ValueError) as error:
        raise InputError(
            f"an input of {'x'.join(map(str, shape))} does not fit: {str(error).splitlines()[0]}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return Walk(
        tuple(shape),
        tuple(steps),
        sum(p.numel() for p in model.parameters()),
        counter.get_total_flops(),
        sum(t.numel() * t.element_size() for t in tensors.values()),
        sum(inner_bytes),
    )
