"""Attention written by hand against its welded form: five ways of writing it, alone and with its projections.

    python benchmarks/attention.py --clock thread          # on a busy machine: time of this thread alone

Both take turns in one process, and medians are compared. Writes `benchmarks/results/attention.md`.
"""

from __future__ import annotations

import argparse
import math
import os
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import torchweld as tw
from fusion import CLOCKS, in_turns, processor  # the benchmark beside this one

RESULTS = Path(__file__).parent / "results" / "attention.md"
VARIANTS = ("scale after", "scale before", "einsum", "causal", "baddbmm")
SETTINGS = ((128, 8), (512, 8), (2048, 1))  # tokens, batch
WIDTH, HEADS = 512, 8


class Core(nn.Module):
    """Queries, keys and values (B, H, T, C/H) in, attention out, written by hand."""

    def __init__(self, variant: str, longest: int) -> None:
        super().__init__()
        self.variant = variant
        self.register_buffer("later", torch.ones(longest, longest, dtype=torch.bool).triu(1))
        self.register_buffer("bias", torch.zeros(1))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scale = 1 / math.sqrt(q.shape[-1])
        if self.variant == "einsum":
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * scale
            return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v)
        if self.variant == "baddbmm":
            a, b, c = (t.flatten(0, 1) for t in (q, k, v))
            scores = torch.baddbmm(self.bias, a, b.transpose(1, 2), beta=0, alpha=scale)
            return torch.bmm(scores.softmax(-1), c).unflatten(0, q.shape[:2])
        scores = (
            (q * scale) @ k.transpose(-2, -1) if self.variant == "scale before" else q @ k.transpose(-2, -1) * scale
        )
        if self.variant == "causal":
            scores = scores.masked_fill(self.later[: q.shape[2], : q.shape[2]], float("-inf"))
        return scores.softmax(-1) @ v


class Whole(nn.Module):
    """Tokens (B, T, C) in and out: the projections of queries, keys, values and of the output around it."""

    def __init__(self, variant: str, longest: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.core = Core(variant, longest)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        return self.out(self.core(q, k, v).transpose(1, 2).flatten(2))


def speedup(model: nn.Module, inputs: tuple[Tensor, ...], rounds: int, clock: str) -> tuple[float, int]:
    """Native time over fused, and how many attentions became the operator."""
    fused = tw.fuse(model.eval(), inputs)
    found = sum("scaled_dot_product_attention" in str(n.target) for n in fused.module.graph.nodes)
    ratio, _ = in_turns(_Packed(fused.module), _Packed(model), inputs, rounds, CLOCKS[clock])  # type: ignore[arg-type]
    return 1 / ratio, found


class _Packed(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.model(*inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")
    load = os.getloadavg()[0]
    heads = [f"{tokens} tokens, batch {batch}" for tokens, batch in SETTINGS]
    lines = [
        "# Attention written by hand, and welded",
        "",
        f"`python benchmarks/attention.py --clock {given.clock} --rounds {given.rounds}`: {processor()}, torch "
        f"{torch.__version__}, threads {given.threads}, load {load:.1f}; float32, width {WIDTH}, {HEADS} heads of "
        f"{WIDTH // HEADS}. Native time over fused: the attention alone, and with the projections around it.",
        "",
        f"| written as | {' | '.join(f'{h}: alone | with projections' for h in heads)} |",
        f"| --- |{' --- | --- |' * len(SETTINGS)}",
    ]
    for variant in VARIANTS:
        cells = []
        for tokens, batch in SETTINGS:
            torch.manual_seed(0)
            parts = tuple(torch.randn(batch, HEADS, tokens, WIDTH // HEADS) for _ in range(3))
            whole = (torch.randn(batch, tokens, WIDTH),)
            for model, inputs in ((Core(variant, tokens), parts), (Whole(variant, tokens), whole)):
                ratio, found = speedup(model, inputs, given.rounds, given.clock)
                cells.append(f"x{ratio:.2f}" if found == 1 else f"x{ratio:.2f} (stayed)")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
