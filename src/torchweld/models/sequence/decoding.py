"""From scores to sequences: greedy decoding and beam search, one token a step, with the model's cache.

A hypothesis is a start token, tokens, and an end token; its score is the sum of the log-probabilities of what follows
the start, the end included. Behind its end a hypothesis is filled up with ends that cost nothing.

    score of a beam's hypothesis = log p / ((5 + length) / 6)^penalty     Wu et al. 2016, https://arxiv.org/abs/1609.08144
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.models.sequence.network import SequenceModel


@dataclass(frozen=True, eq=False)
class Decoded:
    """The best sequence found for each sample, without the start, and its score."""

    tokens: Tensor  # (B, T), ends behind each sample's first end
    scores: Tensor  # (B,)


@torch.no_grad()
def greedy(
    model: SequenceModel,
    source: Tensor,  # (B, S)
    lengths: Tensor | None = None,  # (B,)
    *,
    start: int,
    end: int,
    longest: int,
) -> Decoded:
    """At each step the likeliest token, until every sample has ended or `longest` tokens were made.

    Raises `InputError` for a model in training mode, tokens it does not know, and `longest` below 1.
    """
    _check(model, longest, start=start, end=end)
    cache = model.begin(model.encode(source, lengths))
    last = torch.full((source.shape[0], 1), start, device=source.device)
    total, ended, made = None, torch.zeros_like(last, dtype=torch.bool).squeeze(1), []
    for _ in range(longest):
        logits, cache = model.decode(None, last, cache)
        best, token = logits[:, -1].log_softmax(-1).max(-1)
        token, best = token.masked_fill(ended, end), best.masked_fill(ended, 0)
        total = best if total is None else total + best
        ended = ended | (token == end)
        made.append(token)
        last = token[:, None]
        if bool(ended.all()):
            break
    assert total is not None
    return Decoded(torch.stack(made, 1), total)


@torch.no_grad()
def beam(
    model: SequenceModel,
    source: Tensor,  # (B, S)
    lengths: Tensor | None = None,  # (B,)
    *,
    width: int,
    start: int,
    end: int,
    longest: int,
    penalty: float = 0.0,
) -> Decoded:
    """The best of `width` hypotheses that are carried on side by side.

    The greedy hypothesis is always the first of them, even where `width` others are likelier for a while: a plain beam
    can lose it and end up with something worse; this one never scores below `greedy`, and with `width` 1 is `greedy`.

    Raises `InputError` as `greedy` does, for a `width` below 1 and a `penalty` below 0.
    """
    _check(model, longest, start=start, end=end)
    if width < 1:
        raise InputError(f"width={width} leaves no hypothesis; give 1 or more")
    if penalty < 0:
        raise InputError(f"penalty={penalty} would reward short sequences without bound; give 0 or more")
    samples, device = source.shape[0], source.device
    first = torch.arange(samples, device=device)[:, None] * width  # (B, 1), rows of the batch of B * W hypotheses
    cache = model.begin(model.encode(source, lengths)).select(
        torch.arange(samples, device=device).repeat_interleave(width)
    )
    tokens = torch.full((samples, width, 1), start, device=device)
    scores = torch.full((samples, width), -math.inf, device=device)  # only the first is there at the start
    scores[:, 0] = 0
    ended = torch.zeros(samples, width, dtype=torch.bool, device=device)
    size = torch.zeros(samples, width, device=device)
    for _ in range(longest):
        logits, cache = model.decode(None, tokens[:, :, -1].reshape(-1, 1), cache)
        gain = logits[:, -1].log_softmax(-1).unflatten(0, (samples, width))  # (B, W, V)
        scores = scores.to(gain.dtype)
        only_end = torch.full_like(gain, -math.inf)
        only_end[..., end] = 0
        gain = torch.where(ended[..., None], only_end, gain)
        choices = (scores[..., None] + gain).flatten(1)  # (B, W * V)
        ranked = choices.scatter(1, gain[:, 0].argmax(-1, keepdim=True), math.inf)  # greedy's choice comes first
        picked = ranked.topk(width, 1).indices
        parent, token = picked // gain.shape[-1], picked % gain.shape[-1]
        scores = choices.gather(1, picked)
        cache = cache.select((first + parent).flatten())
        tokens = torch.cat((tokens.gather(1, parent[..., None].expand_as(tokens)), token[..., None]), 2)
        size = size.gather(1, parent) + (~ended.gather(1, parent)).to(size.dtype)
        ended = ended.gather(1, parent) | (token == end)
        if bool(ended.all()):
            break
    scores = scores / ((5 + size.to(scores.dtype)) / 6) ** penalty
    score, best = scores.max(1)
    return Decoded(tokens[torch.arange(samples, device=device), best, 1:], score)


def _check(model: SequenceModel, longest: int, **special: int) -> None:
    if model.training:
        raise InputError("the model is in training mode, where dropout would decide; call .eval() first")
    if longest < 1:
        raise InputError(f"longest={longest} makes no token; give 1 or more")
    for what, token in special.items():
        if not 0 <= token < model.sizes.target_tokens:
            raise InputError(f"{what}={token} is no target token; they are 0 to {model.sizes.target_tokens - 1}")
