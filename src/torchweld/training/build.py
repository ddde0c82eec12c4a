"""The network that a config describes: by name, given dropout, filled from a checkpoint, expanded, partly frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from torchweld import fusion, models
from torchweld.core import InputError
from torchweld.layers import AdaptiveDropout, Dropout, average_views
from torchweld.layers.views import check_turns, views_of
from torchweld.models.perceptron import WIDTHS, perceptron
from torchweld.training.config import Config


class DroppedLinear(nn.Linear):
    """A linear layer behind a dropout, under the linear layer's own names in the state_dict."""

    dropout: nn.Module

    @classmethod
    def after(cls, dropout: nn.Module, linear: nn.Linear) -> DroppedLinear:
        """The same layer, its inputs dropped in training."""
        made = cls.__new__(cls)
        made.__dict__.update(linear.__dict__)
        made._modules = {**linear._modules}
        made.dropout = dropout
        return made

    def forward(self, input: Tensor) -> Tensor:  # (..., I) -> (..., O)
        return super().forward(self.dropout(input))


@dataclass(frozen=True)
class Needs:
    """What data ask of a network: the task, the shape of one input, and how many outputs."""

    task: str
    input_shape: tuple[int, ...]  # (C, H, W) or (F,)
    outputs: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Needs:
        """From `Splits.to_dict()`, perhaps out of a run's `result.json`."""
        outputs = len(facts["classes"]) or len(facts["scale"]["target_mean"])
        return cls(facts["task"], tuple(facts["input_shape"]), outputs)


def build_model(
    config: Config,
    needs: Needs,
    inputs: Tensor | None = None,  # (B, ...) normalised
) -> nn.Module:
    """The network in training mode, weights drawn from torch's generator; `inputs` calibrate `expand`.

    Raises `InputError` for names that do not exist, a network that does not fit the task, a checkpoint that does not
    fit the network, or a pattern that matches nothing.
    """
    tables = len(needs.input_shape) == 1
    if tables != (config.model in WIDTHS):
        kind = "a table" if tables else "images"
        known = ", ".join(WIDTHS) if tables else "those of `torchweld models`"
        raise InputError(f"model={config.model!r} does not read {kind}; choose {known}")
    if tables and config.views:
        raise InputError("views: the columns of a table have no mirror image; leave them out")
    if not tables:
        check_turns(views_of(config.views), *needs.input_shape[1:])
    if not tables and (needs.task == "segment") != config.model.startswith("unet_"):
        wanted = "a unet_..." if needs.task == "segment" else "no unet_..."
        raise InputError(f"model={config.model!r} does not {needs.task}; choose {wanted} of `torchweld models`")
    model: nn.Module = (perceptron if tables else models.create)(config.model, needs.outputs, needs.input_shape[0])
    if config.dropout is not None:
        set_dropout(model, config.dropout, config.dropout_kind)
    if config.init_from is not None:
        fill(model, config.init_from)
    if config.expand is not None:
        if inputs is None:
            raise InputError("expand needs a batch of data to calibrate its branches")
        model = fusion.expand(model.eval(), config.expand, calibrate=inputs, seed=config.seed)
    freeze(model, config.freeze)
    return average_views(model, config.views).train()


def set_dropout(model: nn.Module, rate: float, kind: str = "inverted") -> None:
    """Gives every dropout of the model this rate and kind; where there is none, the last linear layer gets one.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> set_dropout(net, 0.5)
    >>> list(net.state_dict()), net[2].dropout
    (['0.weight', '0.bias', '2.weight', '2.bias'], Dropout(rate=0.5))
    """

    def made() -> nn.Module:
        return Dropout(rate) if kind == "inverted" else AdaptiveDropout(beta=_beta(rate))

    places = [name for name, module in model.named_modules() if isinstance(module, (nn.Dropout, Dropout))]
    for name in places:
        _put(model, name, made())
    if places:
        return
    linears = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise InputError("dropout: the network has neither a dropout nor a linear layer to put one in front of")
    name, last = linears[-1]
    _put(model, name, DroppedLinear.after(made(), last))


def _beta(rate: float) -> float:
    """The bias at which a unit whose activation is 0 is dropped with probability `rate`."""
    return float(torch.logit(torch.tensor(1.0 - rate).clamp(1e-6, 1 - 1e-6)))


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def fill(model: nn.Module, path: str) -> tuple[str, ...]:
    """Takes the weights of a `.safetensors` where name and shape agree, for fine-tuning; returns what stayed fresh.

    Only the head (the last weight and bias by order) may differ in shape. Raises `InputError` if anything else does
    not fit, and for a file that cannot be read.
    """
    state = _weights(Path(path))
    own = model.state_dict()
    fresh = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    head = [name for name, _ in model.named_parameters()][-2:]
    misfits = [name for name in fresh if name not in head]
    if misfits:
        raise InputError(f"init_from={path!r} does not fit the model at {misfits[0]!r} and {len(misfits) - 1} other "
                         "places; only the head may differ: is it the checkpoint of this model?")  # fmt: skip
    model.load_state_dict({**own, **{name: state[name] for name in own if name not in fresh}})
    return tuple(fresh)


def _weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a weights file, or of the model in a training checkpoint: its running mean where it has one."""
    try:
        with safe_open(path, "pt") as opened:
            names = list(opened.keys())
            for prefix in ("models/average/module.", "models/model/"):
                inside = [name for name in names if name.startswith(prefix)]
                if inside:
                    return {name.removeprefix(prefix): opened.get_tensor(name) for name in inside}
            return {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise InputError(f"init_from={str(path)!r} cannot be read ({error}); give a .safetensors file; "
                         "`torchweld convert` makes one of a .pt") from None  # fmt: skip


def freeze(model: nn.Module, patterns: Iterable[str]) -> None:
    """Parameters whose name matches stay as they are. Raises `InputError` for a pattern that matches none."""
    for pattern in patterns:
        matched = [p for name, p in model.named_parameters() if fnmatchcase(name, pattern)]
        if not matched:
            first = next(iter(dict(model.named_parameters())), "none")
            raise InputError(f"freeze: no parameter matches {pattern!r}; names look like {first!r}")
        for parameter in matched:
            parameter.requires_grad_(False)


def set_training(model: nn.Module) -> None:
    """Training mode, but for norms whose parameters are all frozen: their statistics stay, too."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(p.requires_grad for p in own):
            module.eval()
