"""Blocks made for the chosen convolutions: modules, weights drawn, set to the original's function, put in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchweld.core import Refusal
from torchweld.fusion.expansion.block import MAIN, Absorbed, Block, put
from torchweld.fusion.expansion.blocks import BlockName, sides_of
from torchweld.fusion.expansion.choose import Site, norm_of
from torchweld.fusion.expansion.maker import Maker
from torchweld.fusion.expansion.original import original_of
from torchweld.fusion.expansion.preserve import Precision, preserve, preserve_unnormed
from torchweld.fusion.expansion.twin import Twin

_EPS = 1e-5  # of the norms in a block whose convolution has none: torch's default


@dataclass(frozen=True, eq=False)
class Made:
    """A block for one site, the branches left out with the reason, and the dtypes that it is stored in."""

    site: Site
    block: Block
    left_out: tuple[str, ...]
    precision: Precision

    def put(self, model: nn.Module) -> None:
        """Registers the block; the slot in the place of a norm taken in, and a norm that is kept becomes the slot."""
        if self.site.norm is not None:
            behind = model.get_submodule(self.site.norm)
            if self.site.kept:
                self.block.hold(behind)
            elif self.block.slot is not None:
                put(model, behind, self.block.slot)
        put(model, model.get_submodule(self.site.path), self.block)

    def settle(self, model: nn.Module) -> None:
        """Puts the block into the copy that is returned, in the original's dtype, mode and trainability."""
        conv = self.site.conv
        self.precision.cast(self.block)
        self.block.requires_grad_(conv.weight.requires_grad).train(conv.training)
        if isinstance(self.block.slot, Absorbed):
            self.block.slot.train(conv.training)
        self.put(model)


@dataclass(frozen=True)
class Making:
    """How blocks are made: which, with norms in the branches or not, the side branches' strength, the random seed."""

    block: BlockName
    normed: bool
    strength: float
    seed: int

    def blocks(self, model: nn.Module, twin: Twin, sites: Sequence[Site]) -> tuple[list[Made], dict[str, str]]:
        """The blocks, in the sites' order, set to their convolutions' functions; reasons for the sites without."""
        generator = torch.Generator().manual_seed(self.seed)
        made: dict[str, Made] = {}
        declined: dict[str, str] = {}

        at = {site.path: site for site in sites}

        def make(path: str, x: Tensor, y: Tensor) -> None:
            try:
                original = original_of(twin.conv(path), norm_of(model, at[path]), y, _EPS)
                made[path] = one = self._block(model, twin, at[path], generator)
                preserve(one.block, original, x, self.strength, one.precision)
            except Refusal as no:
                declined[path] = no.reason

        if self.normed:
            twin.show(at, make)
        else:
            for path, site in at.items():
                made[path] = one = self._block(model, twin, site, generator)
                preserve_unnormed(one.block, twin.conv(path), self.strength, one.precision, generator)
        return [made[path] for path in at if path in made], declined

    def _block(self, model: nn.Module, twin: Twin, site: Site, generator: torch.Generator) -> Made:
        conv, norm = twin.conv(site.path), norm_of(model, site)
        dtype = site.conv.weight.dtype
        stored = norm.running_mean if norm is not None else None
        precision = Precision(dtype, dtype if stored is None else stored.dtype)
        maker = Maker(conv, norm, self.normed, generator)
        sides = sides_of(self.block, maker)
        branches = {MAIN: maker.main()} | {name: stages | maker.end() for name, stages in sides.branches.items()}
        block = Block(site.conv, maker.window, branches)
        if norm is not None:
            block.hold(Absorbed(norm))
        return Made(site, block, sides.left_out, precision)
