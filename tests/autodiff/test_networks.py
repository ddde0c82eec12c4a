"""Whole networks run unchanged: jvp, vjp and Hessian-vector products against torch.func, to 1e-12 in float64."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from torchweld import autodiff as ad
from torchweld import models

EXACT = 1e-12


class Sequence(nn.Module):
    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.core(x)[0])


class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        memory = x[:, :3].flip(1)
        return self.norm(x + self.attend(x, memory, memory)[0])


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(11, 8), nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.arange(10).reshape(2, 5) % 7
        return torch.einsum("btc,cd->btd", self.table(tokens), self.mix).mean(1) + x[:, 0]


SMALL = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True), nn.Dropout(0.4), nn.Linear(9, 3)), (4, 6)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding="same"),
            nn.BatchNorm2d(4),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, groups=2),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        (2, 2, 9, 9),
    ),
    "upsampling": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(2, 4, 3, 2, 1, 1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.GroupNorm(2, 4),
            nn.Hardswish(),
            nn.AvgPool2d(3, 2, 1),
            nn.Conv2d(4, 1, 1),
        ),
        (2, 2, 4, 3),
    ),
    "attention": (CrossAttention, (2, 5, 8)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True),
        (2, 5, 8),
    ),
    "lstm": (lambda: Sequence(nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True)), (2, 4, 4)),
    "gru": (lambda: Sequence(nn.GRU(4, 10)), (4, 2, 4)),
    "rnn": (lambda: Sequence(nn.RNN(4, 10, nonlinearity="relu")), (4, 2, 4)),
    "embedding": (Embedded, (2, 5, 8)),
}


def worst(ours, theirs) -> float:
    pairs = list(zip(tree_leaves(ours), tree_leaves(theirs), strict=True))
    assert pairs
    return max(((a - b).abs().max() / b.abs().max().clamp_min(1.0)).item() for a, b in pairs)


def assert_agrees(module: nn.Module, x: Tensor) -> None:
    module = module.double()
    x = x.double()
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    buffers = {name: b.clone() for name, b in module.named_buffers()}

    def network(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        torch.manual_seed(3)  # dropout draws the same masks for both
        # buffers are handed over as fresh copies: torch.func refuses writes into those of the module
        fresh = {name: b.clone() for name, b in buffers.items()}
        out = torch.func.functional_call(module, {**parameters, **fresh}, (x,))
        return torch.cat([o.flatten() for o in tree_leaves(out)])

    generator = torch.Generator().manual_seed(1)
    draw = lambda like: torch.randn(like.shape, dtype=torch.float64, generator=generator)  # noqa: E731
    tangents = ({name: draw(p) for name, p in parameters.items()}, draw(x))
    # torch's fused attention has no second derivative; its written-out form has
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        value, ours = ad.jvp(network, (parameters, x), tangents)
        expected, theirs = torch.func.jvp(network, (parameters, x), tangents)
        assert worst(value, expected) <= EXACT
        assert worst(ours, theirs) <= EXACT
        adjoint = draw(value)
        assert (
            worst(ad.vjp(network, parameters, x)[1](adjoint), torch.func.vjp(network, parameters, x)[1](adjoint))
            <= EXACT
        )

        def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
            y = network(parameters, x)
            return (y * adjoint).sum() / math.sqrt(y.numel()) + (y * y).mean()

        product = ad.hvp(loss, (parameters, x), tangents)[1]
        expected = torch.func.jvp(torch.func.grad(loss, (0, 1)), (parameters, x), tangents)[1]
        assert worst(product, expected) <= EXACT


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str, training: bool) -> None:
    torch.manual_seed(0)
    make, shape = SMALL[name]
    # in evaluation mode torch sends an encoder layer to a fused kernel of its own that has no derivative
    assert_agrees(make().train(training or name == "transformer"), torch.randn(shape))


def small(name: str) -> tuple[nn.Module, Tensor]:
    """A network of the table with four classes, and the smallest batch of square images it takes."""
    module = models.create(name, classes=4, channels=3)
    for side in (32, 64, 96, 224):
        x = torch.randn(2, 3, side, side)
        try:
            with torch.no_grad():
                copy.deepcopy(module)(x)
        except (RuntimeError, ValueError, IndexError):
            continue
        return module, x
    raise AssertionError(f"{name} takes no image up to 224 x 224")


@pytest.mark.parametrize("name", models.names())
def test_every_network_of_the_table(name: str) -> None:
    torch.manual_seed(0)
    module, x = small(name)
    parameters = sum(p.numel() for p in module.parameters())
    if parameters > 15e6:
        pytest.skip("too large for a check in float64; a smaller one of its family is checked")
    # in training mode many networks end in batch statistics of two numbers, where rounding itself is magnified
    assert_agrees(module.train(name.startswith("branched") and parameters < 1e6), x)


def test_running_statistics_are_updated_once_and_derivatives_are_right() -> None:
    """torch.func refuses batch norm that writes its running statistics; here they move as in a plain call."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh()).double()
    plain = copy.deepcopy(net)
    x, t = torch.randn(4, 2, 5, 5).double(), torch.randn(4, 2, 5, 5).double()
    value, tangent = ad.jvp(net, (x,), (t,))
    torch.testing.assert_close(value, plain(x), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(net.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)
    h = 1e-6
    difference = (plain(x + h * t) - plain(x - h * t)) / (2 * h)
    torch.testing.assert_close(tangent, difference, rtol=1e-7, atol=1e-8)


def test_forward_mode_through_fused_attention() -> None:
    q, k, v = torch.randn(3, 2, 4, 8, dtype=torch.float64).unbind()
    attend = nn.functional.scaled_dot_product_attention
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        theirs = torch.func.jvp(attend, (q, k, v), (v, q, k))[1]
    assert worst(ad.jvp(attend, (q, k, v), (v, q, k))[1], theirs) <= EXACT
    blind = torch.ones(4, 4, dtype=torch.bool).tril()
    blind[2] = False
    y, dy = ad.jvp(lambda q: attend(q, k, v, blind), (q,), (k,))
    assert y[:, 2].abs().max() == dy[:, 2].abs().max() == 0
    assert y.isfinite().all()
    assert dy.isfinite().all()
