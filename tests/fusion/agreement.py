"""The oracle: networks with random numbers everywhere, fused in float64 and run beside the original."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion import Fused

EXACT = 1e-12  # of algebra in float64 on small networks; far below any error of a border or of a missed shift


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with norms that scale, shift and centre each channel differently."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if not isinstance(module, _BatchNorm):
            continue
        for tensor, low, high in (
            (module.running_mean, -1.0, 1.0),
            (module.running_var, 0.3, 3.0),
            (module.weight, -1.5, 1.5),
            (module.bias, -1.0, 1.0),
        ):
            if tensor is not None:
                tensor.data.uniform_(low, high, generator=generator)
    return model.eval()


def noise(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))).to(dtype)


def weld(model: nn.Module, *args: Any, also: Sequence[tuple[Any, ...]] = (), **kwargs: Any) -> Fused:
    """Fuses the model in float64; raises unless it agrees on the example and on the inputs in `also`."""
    model = randomised(model).double()
    before = copy.deepcopy(model.state_dict())
    fused = tw.fuse(model, args, kwargs)
    assert_unmodified(model, before)
    for inputs in (args, *also):
        assert_agree(fused.module, model, *inputs, **kwargs)
    return fused


def assert_agree(fused: nn.Module, original: nn.Module, *args: Any, bound: float = EXACT, **kwargs: Any) -> None:
    """Same structure of outputs, same values within the bound; inputs that the original changes are changed alike."""
    mine, theirs = (pytree.tree_map(_copied, (args, kwargs)) for _ in range(2))
    with torch.no_grad():
        actual, actual_tree = pytree.tree_flatten(fused(*mine[0], **mine[1]))
        expected, expected_tree = pytree.tree_flatten(original(*theirs[0], **theirs[1]))
    assert actual_tree == expected_tree
    for got, wanted in zip([*actual, *pytree.tree_leaves(mine)], [*expected, *pytree.tree_leaves(theirs)], strict=True):
        if isinstance(wanted, Tensor):
            assert got.dtype == wanted.dtype
            assert relative_error(got, wanted) <= bound
        else:
            assert got == wanted


def assert_unmodified(model: nn.Module, state: dict[str, Tensor]) -> None:
    """The model holds bitwise the numbers it held, and nothing of it was set to training."""
    now = model.state_dict()
    assert list(now) == list(state)
    for name, tensor in now.items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name])
    assert not any(module.training for module in model.modules())


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
