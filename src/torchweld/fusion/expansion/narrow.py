"""`collapse`: every block back into the convolution, and the batch norm, that it stood for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from torchweld.core import InputError
from torchweld.fusion.expansion.block import MAIN, Absorbed, Block, put, summed
from torchweld.fusion.expansion.report import KEPT_AT


def collapse(wide: nn.Module) -> nn.Module:
    """The model that `expand` was given, with what its branches have learned: same class, same state_dict keys.

    The result equals `wide` in eval mode to rounding: each block is summed to one kernel, in float64. Where a batch
    norm was taken in, it is back: its bias is the mean that the branches' norms give the output, its weight a deviation
    estimated from theirs, and the running statistics are what makes the whole exact. A norm that was kept behind its
    block takes the branches' bias into its running mean. `wide` is not modified.

    Raises `InputError` for a model without blocks, and for a part of a model whose norms are outside of it.

    >>> from torchweld.fusion import expand
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    >>> thin = collapse(expand(model, "rep", calibrate=torch.randn(16, 3, 12, 12)))
    >>> thin.load_state_dict(model.state_dict())
    <All keys matched successfully>
    >>> thin[0]
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
    """
    thin = copy.deepcopy(wide)
    blocks = {path: m for path, m in thin.named_modules() if isinstance(m, Block)}
    if not blocks:
        raise InputError(f"this {type(wide).__name__} has no expanded convolution to collapse")
    if "" in blocks:
        raise InputError("this is a block alone; collapse the model that it is part of")
    present = {id(m) for m in thin.modules()}
    for path, block in blocks.items():
        if block.slot is not None and id(block.slot) not in present:
            raise InputError(f"the batch norm of {path} is outside of this part of the model; collapse the whole model")
        _restore(thin, block)
    if hasattr(thin, KEPT_AT):
        delattr(thin, KEPT_AT)
    return thin


def _restore(model: nn.Module, block: Block) -> None:
    kernel, bias = summed(block, block.branches)
    like = block.get_parameter(f"branches.{MAIN}.conv.weight")
    form, slot = block.form, block.slot
    if not isinstance(slot, Absorbed):
        if isinstance(slot, nn.modules.batchnorm._BatchNorm) and slot.running_mean is not None:
            slot.running_mean.sub_(bias.to(slot.running_mean))  # norm(y + bias) is the norm of y with its mean lowered
            bias = torch.zeros_like(bias)
        keeps_bias = form.has("bias") or (slot is None and block.normed)
        conv = form.filled({"weight": kernel, "bias": bias} if keeps_bias else {"weight": kernel}, like, block)
    else:
        factor, tensors = _norm_of(block, slot, kernel, bias)
        own = kernel / factor.view(-1, *(1,) * (kernel.ndim - 1))
        zeros = {"bias": torch.zeros_like(bias)} if form.has("bias") else {}
        conv = form.filled({"weight": own} | zeros, like, block)
        norm = slot.form.filled(tensors, block.get_buffer(f"branches.{MAIN}.norm.running_var"), slot)
        put(model, slot, norm)
    put(model, block, conv)


def _norm_of(block: Block, slot: Absorbed, kernel: Tensor, bias: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The norm's factor in eval mode, and its tensors: `y = factor (kernel / factor x - running_mean) + beta`.

    The kernel is divided by the output's deviation, so that its own output has a variance of about 1.
    """
    state = dict(block.named_parameters()) | dict(block.named_buffers())

    def ends(name: str) -> list[Tensor]:
        return [state[f"branches.{b}.norm.{name}"].detach().cpu().double() for b in block.branches]

    norm: Any = slot.form.module
    var, count = torch.full_like(bias, 1 - norm.eps), state[f"branches.{MAIN}.norm.num_batches_tracked"]
    if not norm.affine:
        return torch.ones_like(bias), {"running_mean": -bias, "running_var": var, "num_batches_tracked": count}
    deviation = torch.stack(ends("weight")).square().sum(0).sqrt()
    factor, mean = torch.where(deviation > 0, deviation, 1), torch.stack(ends("bias")).sum(0)
    return factor, {
        "weight": factor,
        "bias": mean,
        "running_mean": (mean - bias) / factor,
        "running_var": var,
        "num_batches_tracked": count,
    }
