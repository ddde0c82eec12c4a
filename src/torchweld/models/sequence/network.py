"""Encoder, attention, decoder: one network and one interface, whatever the core.

`encode` reads a source once. `decode` scores what may follow each target token, given those before it; with the cache
of an earlier call it goes on from there, one token or several at a time, and gives what one call on the whole gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchweld.core import InputError
from torchweld.layers import SinusoidalPositions
from torchweld.models.sequence.attention import within
from torchweld.models.sequence.mixing import Mixer, State
from torchweld.models.sequence.stack import Decoder, Encoder


@dataclass(frozen=True)
class Sizes:
    """How large a sequence model is. `positions`: whether sinusoids are added to the tokens, on both sides.

    `kernel` is the CNN's, `longest` the most positions of either sequence, `rate` that of every dropout.
    """

    source_tokens: int
    target_tokens: int
    features: int = 64
    layers: int = 2
    heads: int = 4
    kernel: int = 5
    rate: float = 0.0
    positions: bool = True
    longest: int = 1024


class Memory(NamedTuple):
    """A source that has been read: its encoded positions, and how many of them each sample has (None: all)."""

    values: Tensor  # (B, S, D)
    lengths: Tensor | None  # (B,)


class Cache(NamedTuple):
    """What decoding must remember: the memory's keys and values, each layer's state, the positions decoded so far.

    Every tensor has the batch first: `select` keeps and reorders samples, as a beam does after each step.
    """

    known: tuple[State, ...]
    states: tuple[State, ...]
    position: int
    lengths: Tensor | None

    def select(
        self,
        rows: Tensor,  # (B',)
    ) -> Cache:
        known, states = (
            tuple(tuple(t.index_select(0, rows) for t in layer) for layer in part) for part in (self.known, self.states)
        )
        lengths = None if self.lengths is None else self.lengths.index_select(0, rows)
        return Cache(known, states, self.position, lengths)


class SequenceModel(nn.Module):
    """From a sequence of tokens to another; `create` makes one by the name of its core.

    Raises `InputError` for tokens that are no (B, T) whole numbers or not in the vocabulary, for lengths that do not
    fit, and for sequences of more than `longest` positions.

    >>> from torchweld.models.sequence.table import create
    >>> model = create("gru", Sizes(source_tokens=20, target_tokens=9)).eval()
    >>> model(torch.randint(20, (2, 7)), torch.randint(9, (2, 4))).shape
    torch.Size([2, 4, 9])
    """

    def __init__(self, sizes: Sizes, encoding: list[Mixer], decoding: list[Mixer]) -> None:
        super().__init__()
        self.sizes = sizes
        self.source = nn.Embedding(sizes.source_tokens, sizes.features)
        self.target = nn.Embedding(sizes.target_tokens, sizes.features)
        self.positions = SinusoidalPositions(sizes.features, sizes.longest) if sizes.positions else None
        self.encoder = Encoder(encoding, sizes.rate)
        self.decoder = Decoder(decoding, sizes.heads, sizes.rate)
        self.score = nn.Linear(sizes.features, sizes.target_tokens)

    def encode(
        self,
        source: Tensor,  # (B, S)
        lengths: Tensor | None = None,  # (B,)
    ) -> Memory:
        """Read a source. Positions from a sample's length on are padding, and seen by nothing."""
        if lengths is not None and lengths.shape != source.shape[:1]:
            raise InputError(f"lengths are {tuple(lengths.shape)} for a source of {tuple(source.shape)}; give one each")
        return Memory(self.encoder(self._embedded(source, self.source, "source", 0), lengths), lengths)

    def begin(self, memory: Memory) -> Cache:
        """The cache in front of the first target token."""
        return Cache(self.decoder.known(memory.values), (), 0, memory.lengths)

    def decode(
        self,
        memory: Memory | None,
        target: Tensor,  # (B, T)
        cache: Cache | None = None,
    ) -> tuple[Tensor, Cache]:  # (B, T, V)
        """Scores of what follows each of the target's tokens, and the cache behind the last.

        With a cache the target is what comes behind the tokens of earlier calls, and the memory may be None: the
        cache knows what is needed of it.
        """
        if cache is None:
            if memory is None:
                raise InputError("decode needs a memory from encode, or the cache of an earlier call")
            cache = self.begin(memory)
        samples = cache.known[0][0].shape[0]
        if target.shape[:1] != (samples,):
            raise InputError(f"the target is {tuple(target.shape)} and the source has {samples} samples; give as many")
        mask = None if cache.lengths is None else within(cache.lengths, cache.known[0][0].shape[2])
        x = self._embedded(target, self.target, "target", cache.position)
        x, states = self.decoder(x, cache.known, mask, cache.states)
        return self.score(x), Cache(cache.known, states, cache.position + target.shape[1], cache.lengths)

    def forward(
        self,
        source: Tensor,  # (B, S)
        target: Tensor,  # (B, T)
        lengths: Tensor | None = None,  # (B,)
    ) -> Tensor:  # (B, T, V)
        """Scores of what follows each target token, all at once, as training with the true target needs them."""
        return self.decode(self.encode(source, lengths), target)[0]

    def _embedded(self, tokens: Tensor, table: nn.Embedding, what: str, start: int) -> Tensor:
        if tokens.ndim != 2 or tokens.dtype not in (torch.int64, torch.int32):
            raise InputError(f"the {what} must be whole numbers (B, T), and is {tuple(tokens.shape)} of {tokens.dtype}")
        if tokens.shape[1] < 1:
            raise InputError(f"the {what} is empty; give at least one token")
        try:
            x = table(tokens)
        except IndexError as error:
            raise InputError(
                f"the {what} has tokens from {int(tokens.min())} to {int(tokens.max())}; the model knows 0 to "
                f"{table.num_embeddings - 1}"
            ) from error
        return x if self.positions is None else self.positions(x, start)
