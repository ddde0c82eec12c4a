"""Mixers: the one part in which a CNN, an RNN and a Transformer differ, each a file of this folder.

A mixer moves information between positions; whatever happens within a position (norms, the dense part, dropout) and
between the two sequences (attention) is the same for all cores, so that a comparison compares the mixers.

Shapes, in all of this folder: B batch, S source positions, T target positions, D features, V tokens.
"""

from __future__ import annotations

from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a causal mixer must remember of the positions it has seen; the batch is the first dimension of each tensor."""


class Mixer(nn.Module):
    """Abstract. A causal mixer lets a position see itself and those before, any other sees the whole sequence.

    `forward(x, lengths, past)` gives the mixed sequence and the state behind it. `lengths` (B,) hides a sample's
    positions from its length on; they are for mixers that are not causal, since padding on the right is in nobody's
    past. `past` is the state behind an earlier part of the sequence, `()` at its start: calls on the parts, one after
    the other, give what one call on the whole gives.
    """

    def __init__(self, features: int, causal: bool) -> None:
        super().__init__()
        self.features, self.causal = features, causal

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        lengths: Tensor | None = None,  # (B,)
        past: State = (),
    ) -> tuple[Tensor, State]:  # (B, T, D)
        raise NotImplementedError
