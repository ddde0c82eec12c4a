"""Which convolutions of a model can become blocks, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import nn

from torchweld.core import InputError, Refusal
from torchweld.fusion.expansion.block import Block
from torchweld.fusion.expansion.blocks import BlockName, check_block
from torchweld.fusion.expansion.feeds import Seen
from torchweld.fusion.expansion.window import BatchNorm, Convolution, window_of

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORM = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True, eq=False)
class Site:
    """A convolution that can become a block, and the path of the batch norm that alone reads its output.

    The branches take a plain norm in. One that does more than its class says (an activation inside) is kept behind the
    block: its running mean can take up whatever bias the branches' norms leave.
    """

    path: str
    conv: Convolution
    norm: str | None = None
    kept: bool = False
    multiplications: int = 0


def matching(model: nn.Module, include: Iterable[str], exclude: Iterable[str]) -> dict[str, nn.Module]:
    """The convolutions, transposed ones too, whose path matches; each once, by its first path."""
    wanted, unwanted = tuple(include), tuple(exclude)
    if any(isinstance(m, Block) for m in model.modules()):
        raise InputError(f"this {type(model).__name__} is expanded already; collapse it first")
    convs = {path: m for path, m in model.named_modules() if isinstance(m, (*_CONVS, *_TRANSPOSED))}
    if not convs:
        raise InputError(f"this {type(model).__name__} has no convolution to expand")
    chosen: dict[str, nn.Module] = {
        path: m
        for path, m in convs.items()
        if any(fnmatchcase(path, p) for p in wanted) and not any(fnmatchcase(path, p) for p in unwanted)
    }
    if not chosen:
        some = ", ".join(list(convs)[:5])
        raise InputError(f"no convolution's name matches {' or '.join(wanted)}; they are called {some}, ...")
    return chosen


def owners(model: nn.Module) -> dict[int, list[str]]:
    """For each parameter, by id, the paths of the modules that own it."""
    found: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for p in module._parameters.values():
            if p is not None:
                found.setdefault(id(p), []).append(path)
    return found


def check_module(path: str, module: nn.Module, block: BlockName, owned: Mapping[int, list[str]]) -> Site:
    """The site of a convolution, by what the module itself shows. Raises `Refusal`."""
    kind = type(module).__name__
    if isinstance(module, _TRANSPOSED):
        raise Refusal("a transposed convolution: the blocks are defined for convolutions")
    assert isinstance(module, _CONVS)
    if path == "":
        raise Refusal("the model is itself the convolution, and would change its class: put it into a Sequential")
    stock = next(c for c in _CONVS if isinstance(module, c))
    if type(module).forward is not stock.forward or type(module)._conv_forward is not stock._conv_forward:
        raise Refusal(f"a {kind}, whose forward is its own and may compute something else")
    if "weight" not in module._parameters or isinstance(module.weight, nn.UninitializedParameter):
        raise Refusal("its weight is computed from other parameters, or not initialised yet")
    if module._forward_hooks or module._forward_pre_hooks:
        raise Refusal("it has forward hooks, which a block would lose")
    for tensor in (module.weight, module.bias):
        others = [p for p in owned.get(id(tensor), ()) if p != path]
        if tensor is not None and others:
            raise Refusal(f"it shares its parameters with {others[0]}")
    if not module.weight.is_floating_point():
        raise Refusal(f"its weight is {module.weight.dtype}")
    check_block(block, window_of(module))
    return Site(path, module)


def check_seen(site: Site, seen: Seen, norms: Mapping[str, nn.Module], *, normed: bool, allow_bias: bool) -> Site:
    """The site with its norm, by what a run showed. Raises `Refusal`."""
    if not seen.calls:
        raise Refusal("it is not used on the calibration batch")
    if seen.weight_read_elsewhere:
        raise Refusal("its weight is read outside of it, where a block has none")
    site = replace(site, multiplications=seen.multiplications)
    if not normed:
        return site
    if not seen.batched:
        raise Refusal("it is given an input without a batch dimension, which a batch norm does not take")
    if seen.calls > 1:
        raise Refusal(f'it is called {seen.calls} times, each with its own statistics; norm="after" takes it')
    norm = norms[seen.norm] if seen.norm is not None else None
    if norm is not None and getattr(norm, "running_mean", None) is not None:
        return replace(site, norm=seen.norm, kept=not is_plain(norm))
    if site.conv.bias is None and not allow_bias:
        raise Refusal(
            "no bias, and no batch norm that alone reads its output: collapsed, it would have gained a bias; "
            'allow_bias=True accepts that, norm="after" needs none'
        )
    return site


def is_plain(norm: nn.Module) -> bool:
    """A batch norm that does nothing else, by its class's forward or by hooks."""
    plain = isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)) and type(norm).forward is _NORM.forward
    return plain and not (norm._forward_hooks or norm._forward_pre_hooks)


def costliest(sites: list[Site], share: float) -> tuple[list[Site], list[Site]]:
    """The sites that do most multiplications, until they do this share of all the sites'; and the others."""
    ordered = sorted(sites, key=lambda s: -s.multiplications)
    needed, done, kept = share * sum(s.multiplications for s in sites), 0, set[str]()
    for site in ordered:
        if done >= needed:
            break
        kept.add(site.path)
        done += site.multiplications
    return [s for s in sites if s.path in kept], [s for s in sites if s.path not in kept]


def norm_of(model: nn.Module, site: Site) -> BatchNorm | None:
    """The norm that the branches take in."""
    if site.norm is None or site.kept:
        return None
    norm = model.get_submodule(site.norm)
    assert isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))
    return norm
