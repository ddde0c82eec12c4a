"""What a training step holds in memory, measured: data, parameters, gradients, optimiser state, activations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Footprint:
    """Bytes. `activations` are what the forward pass keeps for the backward pass, the batch itself not counted."""

    data: int
    parameters: int
    buffers: int
    gradients: int
    optimizer_state: int
    activations: int

    @property
    def total(self) -> int:
        """All of them: the least that a step needs, without what operators use in passing."""
        return sum(asdict(self).values())

    def to_dict(self) -> dict[str, int]:
        """Bytes by name, and their total."""
        return {**asdict(self), "total": self.total}


def footprint(
    model: nn.Module,
    inputs: Tensor,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
) -> Footprint:
    """Takes one training step on a copy of the model and counts what it leaves and keeps.

    `optimizer` makes one from parameters, as `torch.optim.Adam` does; without one there is no state. Neither the model
    nor the random generator is changed.

    >>> made = footprint(nn.Linear(10, 5), torch.zeros(4, 10), torch.optim.Adam)
    >>> made.data, made.parameters, made.gradients  # float32: 4 bytes each
    (160, 220, 220)
    """
    with torch.random.fork_rng(), torch.enable_grad():
        twin = copy.deepcopy(model).train()
        for parameter in twin.parameters():
            parameter.grad = None
        fixed = [*twin.parameters(), *twin.buffers(), inputs]
        known = {tensor.untyped_storage().data_ptr() for tensor in fixed}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = twin(inputs)
        activations = sum(kept.values())
        first = output if isinstance(output, Tensor) else next(t for t in output if isinstance(t, Tensor))
        first.float().mean().backward()
        state = 0
        if optimizer is not None:
            made = optimizer(twin.parameters())
            made.step()
            state = _bytes(value for values in made.state.values() for value in values.values())
    gradients = _bytes(parameter.grad for parameter in twin.parameters())
    return Footprint(_bytes([inputs]), _bytes(twin.parameters()), _bytes(twin.buffers()), gradients, state, activations)


def _bytes(values: Iterable[object]) -> int:
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))
