"""Averaging over views makes a network equivariant to them, and changes nothing else about it."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import torchweld
from torchweld.core import InputError
from torchweld.layers import average_views
from torchweld.layers.views import VIEWS, one_view, view_count, views_of

MOVES = {
    "flip": lambda x: x.flip(-1),
    "flip_vertical": lambda x: x.flip(-2),
    "turn": lambda x: torch.rot90(x, 1, (-2, -1)),
}
SUBSETS = st.lists(st.sampled_from(sorted(MOVES)), min_size=1, unique=True)


def maps(seed: int = 0) -> nn.Sequential:
    """A network that no mirror image leaves alone: (B, 2, H, W) -> (B, 3, H, W)."""
    torch.manual_seed(seed)
    convs = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
    return nn.Sequential(convs[0], nn.BatchNorm2d(4), nn.ReLU(), convs[1]).double()


def classes(seed: int = 0) -> nn.Sequential:
    """(B, 2, 5, 5) -> (B, 3)."""
    return nn.Sequential(maps(seed), nn.Flatten(), nn.Linear(75, 3).double())


@given(SUBSETS, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_what_is_moved_is_answered_alike(views: list[str], seed: int) -> None:
    x = torch.randn(3, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    of_maps, of_classes = average_views(maps(seed), views).eval(), average_views(classes(seed), views).eval()
    for name in views:
        assert torch.allclose(of_maps(MOVES[name](x)), MOVES[name](of_maps(x)), atol=1e-12)
        assert torch.allclose(of_classes(MOVES[name](x)), of_classes(x), atol=1e-12)
    plain = maps(seed).eval()
    assert not any(torch.allclose(plain(MOVES[name](x)), MOVES[name](plain(x)), atol=1e-6) for name in views)


@given(SUBSETS)
@settings(max_examples=10, deadline=None)
def test_the_views_are_a_group_without_doubles(views: list[str]) -> None:
    x = torch.arange(9.0).view(3, 3)
    seen = {tuple(view.of(x[None, None]).flatten().tolist()) for view in views_of(views)}
    assert len(seen) == len(views_of(views))
    for image in list(seen):
        for name in views:
            assert tuple(MOVES[name](torch.tensor(image).view(3, 3)).flatten().tolist()) in seen


def test_the_mean_by_hand() -> None:
    x, net = torch.randn(4, 2, 5, 6, dtype=torch.float64), maps().eval()
    by_hand = (net(x) + net(x.flip(-1)).flip(-1) + net(x.flip(-2)).flip(-2) + net(x.flip(-1, -2)).flip(-1, -2)) / 4
    assert torch.allclose(average_views(net, ["flip", "flip_vertical"])(x), by_hand, atol=1e-12)


def test_shifts_by_hand() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    seen = [view.of(x)[0, 0].tolist() for view in views_of(["shift"])]
    assert seen == [[[0, 1, 2], [3, 4, 5]], [[0, 0, 1], [0, 0, 1]], [[4, 5, 5], [4, 5, 5]]]


@given(st.lists(st.sampled_from(VIEWS), unique=True), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_a_view_undone_is_the_image_but_for_what_was_shifted_out(views: list[str], seed: int) -> None:
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    for view in views_of(views):
        inside = slice(1, -1) if view.shift else slice(None)
        assert torch.equal(view.undone(view.of(x))[..., inside, inside], x[..., inside, inside])


def test_training_and_names_are_as_they_were() -> None:
    x, plain, net = torch.randn(4, 2, 5, 6, dtype=torch.float64), maps(), average_views(maps(), ["flip"])
    assert torch.equal(net(x), plain(x))
    assert list(net.state_dict()) == list(plain.state_dict())
    assert torch.equal(net[1].running_mean, plain[1].running_mean)
    assert average_views(plain, []) is plain
    assert (view_count(plain), view_count(net)) == (1, 2)


def test_one_view_is_the_network_alone_and_ends_with_its_block() -> None:
    x, plain, net = torch.randn(4, 2, 5, 5, dtype=torch.float64), maps().eval(), average_views(maps(), ["turn"]).eval()
    averaged = net(x)
    twin = copy.deepcopy(net)
    with one_view(net):
        assert torch.equal(net(x), plain(x))
        assert view_count(net) == 1
        assert torch.equal(twin(x), averaged)  # a copy has views of its own
    assert torch.equal(net(x), averaged)
    with pytest.raises(RuntimeError), one_view(net):
        net(x[:, :1])
    assert torch.equal(net(x), averaged)
    with one_view(plain):
        assert torch.equal(plain(x), maps().eval()(x))


@pytest.mark.parametrize("views", [["flip"], ["turn", "flip"], ["shift", "flip"]])
def test_it_is_exported_and_welded_with_the_network(views: list[str]) -> None:
    net, x = average_views(maps(), views).eval(), torch.randn(3, 2, 8, 8, dtype=torch.float64)
    net[1].running_mean.normal_()
    wanted: Tensor = net(x)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert torch.allclose(program.module()(x), wanted, atol=1e-12)
    assert program.module()(x[:2]).shape == (2, 3, 8, 8)
    welded = torchweld.fuse(net, x)
    assert torch.allclose(welded(x), wanted, atol=1e-12)
    assert welded.report.after.norms == 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="views: 'mirror' is unknown; known are flip, flip_vertical, turn, shift"):
        average_views(maps(), ["mirror"])
    with pytest.raises(InputError, match="images of 5x6 are not square; leave turn out"):
        average_views(maps(), ["turn"]).eval()(torch.randn(1, 2, 5, 6, dtype=torch.float64))
    with pytest.raises(InputError, match="averages over views already"):
        average_views(average_views(maps(), ["turn"]), ["flip"])
