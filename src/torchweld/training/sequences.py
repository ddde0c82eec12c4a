"""Teaching a sequence model to read dates: teacher forcing, cross-entropy, AdamW, warm-up and cosine.

Teacher forcing: the decoder is given the true tokens so far and scores the next one at all positions at once; only in
use, and when it is examined here, does it read what it wrote itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch.nn import functional as F

from torchweld.core import InputError
from torchweld.data.dates import ISO, WRITTEN, DateBatch, Part, date_batch, date_pair
from torchweld.models.sequence import SequenceModel, Sizes, beam, create, greedy
from torchweld.training.threads import limited_threads

_POOL_BATCHES = 16  # so many are drawn together and sorted by length, since a batch is as long as its longest
_EXAMINED_AT_ONCE = 500


@dataclass(frozen=True)
class DatesConfig:
    """How a sequence model is taught to read dates. `core` is one of `models.sequence.cores()`."""

    core: str = "transformer"
    features: int = 64
    layers: int = 2
    heads: int = 4
    steps: int = 2000
    batch: int = 64
    learning_rate: float = 3e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    largest_gradient: float = 1.0
    examined: int = 2000
    seed: int = 0
    threads: int = 1

    def sizes(self) -> Sizes:
        return Sizes(len(WRITTEN), len(ISO), self.features, self.layers, self.heads, longest=64)


@dataclass(frozen=True, eq=False)
class DatesRun:
    """A taught model and how it went. `losses` are (step, loss) pairs.

    `exact` is the share of held-out dates of which every character is right, `seconds` the wall clock of training
    without the examination and `cpu_seconds` the processor time of it.
    """

    config: DatesConfig
    model: SequenceModel = field(repr=False)
    losses: tuple[tuple[int, float], ...] = field(repr=False)
    exact: float
    seconds: float
    cpu_seconds: float

    def read(self, *texts: str, width: int = 1) -> list[str]:
        """Written dates in ISO 8601, by greedy decoding or a beam of `width`."""
        return read_dates(self.model, texts, width)

    def to_dict(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "exact": self.exact,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "losses": self.losses,
        }


def learn_dates(config: DatesConfig, watch: Callable[[int, float], object] = lambda step, loss: None) -> DatesRun:
    """Teach a fresh model and examine it on held-out dates. `watch(step, loss)` is called after each step.

    The same config gives the same model. Raises `InputError` for a core that is unknown and counts below 1.

    >>> learn_dates(DatesConfig(steps=2, batch=4, examined=4, features=8)).losses[0][0]
    1
    """
    if not 0 <= config.warmup_share < 1:
        raise InputError(f"warmup_share={config.warmup_share} is no share; give 0 or more, and less than 1")
    for what in ("steps", "batch", "examined", "threads"):
        if getattr(config, what) < 1:
            raise InputError(f"{what}={getattr(config, what)} is not positive")
    with torch.random.fork_rng(devices=[]), limited_threads(config.threads):
        torch.manual_seed(config.seed)
        model = create(config.core, config.sizes())
        optimizer = torch.optim.AdamW(model.parameters(), betas=config.betas, weight_decay=config.weight_decay)
        began, began_cpu = time.perf_counter(), time.process_time()
        losses = []
        for step, batch in enumerate(_batches(config)):
            optimizer.param_groups[0]["lr"] = rate_at(config, step)
            logits = model(batch.source, batch.given, batch.lengths)
            loss = F.cross_entropy(logits.flatten(0, 1), batch.wanted.flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.largest_gradient)
            optimizer.step()
            losses.append((step + 1, loss.item()))
            watch(*losses[-1])
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
        exact = exact_match(model.eval(), config.seed, config.examined)
    return DatesRun(config, model, tuple(losses), exact, seconds, cpu_seconds)


def rate_at(config: DatesConfig, step: int) -> float:
    """The learning rate at a step counted from 0: linear up, then half a cosine down; never 0.

    >>> config = DatesConfig(steps=4, warmup_share=0.5, learning_rate=0.1)
    >>> [round(rate_at(config, step), 3) for step in range(4)]
    [0.05, 0.1, 0.1, 0.05]
    """
    warmup_steps = round(config.warmup_share * config.steps)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, config.steps - warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _batches(config: DatesConfig) -> Iterator[DateBatch]:
    """Fresh dates for every step, in batches of about one length each, in random order of lengths."""
    for first in range(0, config.steps, _POOL_BATCHES):
        batches = min(_POOL_BATCHES, config.steps - first)
        pool = date_batch(config.seed, first * config.batch, batches * config.batch)
        by_length = pool.lengths.argsort(stable=True).view(batches, config.batch)
        for i in torch.randperm(batches).tolist():
            rows = by_length[i]
            lengths = pool.lengths[rows]
            yield DateBatch(pool.source[rows, : int(lengths.max())], lengths, pool.given[rows], pool.wanted[rows])


def exact_match(model: SequenceModel, seed: int, count: int, part: Part = "test", width: int = 1) -> float:
    """The share of `count` dates of a part of which the model writes every character right."""
    right = 0
    for first in range(0, count, _EXAMINED_AT_ONCE):
        pairs = [date_pair(seed, i, part) for i in range(first, min(first + _EXAMINED_AT_ONCE, count))]
        said = read_dates(model, [text for text, _ in pairs], width)
        right += sum(a == b for a, (_, b) in zip(said, pairs, strict=True))
    return right / count


def read_dates(model: SequenceModel, texts: tuple[str, ...] | list[str], width: int = 1) -> list[str]:
    """Written dates in ISO 8601, by greedy decoding or a beam of `width`."""
    if not texts:
        return []
    source, lengths = WRITTEN.encode(texts)
    ends = {"start": ISO.start, "end": ISO.end, "longest": 11}
    if width == 1:
        return ISO.decode(greedy(model, source, lengths, **ends).tokens)
    return ISO.decode(beam(model, source, lengths, width=width, **ends).tokens)
