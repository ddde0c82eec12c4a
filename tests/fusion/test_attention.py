"""Attention written by hand becomes one operator, in each of the ways people write it; or stays, with the reason."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from torchweld.core import relative_error
from torchweld.fusion import Fused, fuse

TOKENS, WIDTH, HEADS = 72, 24, 3


class Attention(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.kind, self.drop = kind, nn.Dropout(0.3)
        self.register_buffer("later", torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1))
        self.register_buffer("nothing", torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(0))
        self.register_buffer("band", torch.ones(TOKENS, TOKENS).tril().triu(-5))
        self.register_buffer("distance", torch.randn(HEADS, TOKENS, TOKENS))

    def heads(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, H, T, C/H)
        return x.view(x.shape[0], x.shape[1], HEADS, WIDTH // HEADS).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        s, kind = (WIDTH // HEADS) ** -0.5, self.kind
        if kind == "scale before":
            scores = (q * s) @ k.transpose(-2, -1)
        elif kind == "scale on both":
            scores = torch.matmul(q * math.sqrt(s), k.permute(0, 1, 3, 2) * math.sqrt(s))
        elif kind == "einsum":
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * s
        elif kind == "baddbmm":
            flat = [t.flatten(0, 1) for t in (q, k, v)]
            scores = torch.baddbmm(self.distance, flat[0], flat[1].transpose(1, 2), alpha=s)
            mixed = torch.bmm(torch.softmax(scores, -1), flat[2]).unflatten(0, (-1, HEADS))
            return self.out(mixed.transpose(1, 2).flatten(2))
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS)
        if kind == "additive mask":
            scores = scores + mask
        elif kind == "bias":
            scores = self.distance + scores
        elif kind == "causal":
            scores = scores.masked_fill(self.later, float("-inf"))
        elif kind == "sliced causal":
            scores = scores.masked_fill(self.later[: x.shape[1], : x.shape[1]], float("-inf"))
        elif kind == "sliced window":
            scores = scores.masked_fill(self.band[: x.shape[1], : x.shape[1]] == 0, float("-inf"))
        elif kind == "sliced empty row":
            scores = scores.masked_fill(self.nothing[: x.shape[1], : x.shape[1]], float("-inf"))
        elif kind == "empty row":
            scores = scores.masked_fill(self.nothing, float("-inf"))
        elif kind == "scale after mask":
            scores = (scores + mask) * 2
        weights = self.drop(scores.softmax(dim=-1))
        if kind == "einsum":
            return self.out(torch.einsum("bhqk,bhkd->bqhd", weights, v).flatten(2))
        y = self.out((weights @ v).transpose(1, 2).reshape(x.shape))
        return (y, weights) if kind == "weights returned" else y


def fused_and_error(kind: str) -> tuple[Fused, float]:
    torch.manual_seed(0)
    model = Attention(kind).eval()
    batch = 1 if kind == "baddbmm" else 2
    inputs: tuple[Tensor, ...] = (torch.randn(batch, TOKENS, WIDTH),)
    if kind in ("additive mask", "scale after mask"):
        inputs += (torch.randn(2, 1, TOKENS, TOKENS),)
    fused = fuse(model, inputs)
    mine, theirs = fused(*inputs), model(*inputs)
    pairs = zip(mine, theirs, strict=True) if isinstance(theirs, tuple) else [(mine, theirs)]
    return fused, max(relative_error(a, b) for a, b in pairs)


def attentions(fused: Fused) -> int:
    return sum("scaled_dot_product_attention" in str(n.target) for n in fused.module.graph.nodes)


WRITTEN = (
    "scale after",
    "scale before",
    "scale on both",
    "einsum",
    "additive mask",
    "bias",
    "causal",
    "sliced causal",
    "sliced window",
    "baddbmm",
)


@pytest.mark.parametrize("kind", WRITTEN)
def test_written_out_attention_becomes_the_operator(kind: str) -> None:
    fused, error = fused_and_error(kind)
    assert attentions(fused) == 1, fused.report.refusals
    assert not any("softmax" in str(n.target) for n in fused.module.graph.nodes)
    assert error < 1e-5
    assert fused.report.certificate.twin_error <= 1e-10
    assert any(weld.laws == ("attention",) for weld in fused.report.rewrites)
    is_causal = any(n.kwargs.get("is_causal") for n in fused.module.graph.nodes)
    assert is_causal == (kind in ("causal", "sliced causal"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty row", "leaves a row without a key"),
        ("sliced empty row", "leaves a row without a key"),
        ("weights returned", "read elsewhere"),
    ],
)
def test_attention_that_must_stay_says_why(kind: str, reason: str) -> None:
    model, x = Attention(kind).eval(), torch.randn(2, TOKENS, WIDTH)
    if kind == "empty row":  # NaN in the original: the operator would give zeros
        assert model(x).isnan().any()
        model.nothing[-1] = True
    fused = fuse(model, x)
    assert attentions(fused) == 0
    assert any(reason in r.reason for r in fused.report.refusals)


def test_a_scale_after_the_mask_is_another_function_and_stays() -> None:
    fused, error = fused_and_error("scale after mask")
    assert attentions(fused) == 0
    assert error < 1e-5


def test_few_tokens_stay_as_they_are() -> None:
    model = Attention("scale after").eval()
    x = torch.randn(2, 8, WIDTH)

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, y: Tensor) -> Tensor:
            return self.inner(y.view(2, 8, WIDTH))

    fused = fuse(Fixed().eval(), x)
    assert attentions(fused) == 0
    assert any("too few" in r.reason for r in fused.report.refusals)


class OfConvolutions(nn.Module):
    """Queries, keys and values as convolutions make them: the head's channels before the positions."""

    def __init__(self, value_width: int) -> None:
        super().__init__()
        self.q, self.k = nn.Conv2d(6, WIDTH, 1), nn.Conv2d(6, WIDTH, 1)
        self.v = nn.Conv2d(6, HEADS * value_width, 1)
        self.bias = nn.Parameter(torch.randn(HEADS, 81, 81))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).flatten(2).unflatten(1, (HEADS, -1)) for f in (self.q, self.k, self.v))
        weights = (q.transpose(2, 3) @ k * 0.3 + self.bias).softmax(-1)
        return (weights @ v.transpose(2, 3)).transpose(2, 3).flatten(1, 2)


def test_operands_and_masks_lie_as_the_fast_operator_takes_them() -> None:
    torch.manual_seed(0)
    model, x = OfConvolutions(8).eval(), torch.randn(1, 6, 9, 9)
    fused = fuse(model, x)
    assert attentions(fused) == 1
    choices: list[int] = []
    operator = torch.ops.aten.scaled_dot_product_attention.default

    def chosen(*args: Tensor, **kwargs: float) -> Tensor:
        choices.append(torch._fused_sdp_choice(*args, **kwargs))
        return operator(*args, **kwargs)

    for node in fused.module.graph.nodes:
        if node.target is operator:
            node.target = chosen
    with torch.no_grad():
        y = torch.fx.Interpreter(fused.module).run(x)
    assert choices == [1]  # flash attention; 0 is the products one by one
    assert relative_error(y, model(x)) < 1e-5


def test_values_of_another_width_stay_apart() -> None:
    fused = fuse(OfConvolutions(5).eval(), torch.randn(1, 6, 9, 9))
    assert attentions(fused) == 0
    assert any("different widths" in r.reason for r in fused.report.refusals)
