"""Greedy decoding and the beam, against each other, against no cache and against all sequences there are."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.models.sequence.small import CORES, batch, model
from torch import Tensor

from torchweld.core import InputError
from torchweld.models.sequence import SequenceModel, Sizes, beam, greedy

ENDS = {"start": 1, "end": 2}


def score(net: SequenceModel, source: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    """Without a cache: the log-probability of each row of tokens, ends behind the first end for nothing."""
    given_tokens = torch.cat((torch.full_like(tokens[:, :1], ENDS["start"]), tokens[:, :-1]), 1)
    gain = net(source, given_tokens, lengths).log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    behind = ((tokens == ENDS["end"]).cumsum(1) - (tokens == ENDS["end"]).int()) > 0
    return gain.masked_fill(behind, 0).sum(1)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("width", [1, 3, 20])
def test_scores_are_those_of_the_tokens(core: str, width: int) -> None:
    torch.manual_seed(0)
    net = model(core)
    source, lengths, _ = batch()
    found = beam(net, source, lengths, width=width, longest=5, **ENDS)
    with torch.no_grad():
        torch.testing.assert_close(found.scores, score(net, source, lengths, found.tokens), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("core", CORES)
def test_greedy_takes_the_likeliest_token_each_time(core: str) -> None:
    torch.manual_seed(1)
    net = model(core)
    source, lengths, _ = batch()
    found = greedy(net, source, lengths, longest=6, **ENDS)
    said = torch.full((4, 1), ENDS["start"])
    ended = torch.zeros(4, dtype=torch.bool)
    for t in range(found.tokens.shape[1]):
        token = net(source, said, lengths)[:, -1].argmax(-1).masked_fill(ended, ENDS["end"])
        ended |= token == ENDS["end"]
        said = torch.cat((said, token[:, None]), 1)
        assert torch.equal(found.tokens[:, t], token)
    one = beam(net, source, lengths, width=1, longest=6, **ENDS)
    assert torch.equal(one.tokens, found.tokens)
    torch.testing.assert_close(one.scores, found.scores)


@given(
    seed=st.integers(0, 10_000),
    core=st.sampled_from(CORES),
    width=st.integers(1, 5),
    penalty=st.sampled_from([0.0, 0.6, 2.0]),
)
def test_a_beam_never_scores_below_greedy(seed: int, core: str, width: int, penalty: float) -> None:
    torch.manual_seed(seed)
    net = model(core, layers=1)
    net.score.weight.data *= 4  # decided opinions, with which a plain beam loses the greedy path
    source, lengths, _ = batch()
    low = greedy(net, source, lengths, longest=5, **ENDS)
    size = ((low.tokens == ENDS["end"]).cumsum(1) - (low.tokens == ENDS["end"]).int() == 0).sum(1).double()
    high = beam(net, source, lengths, width=width, longest=5, penalty=penalty, **ENDS)
    assert (high.scores >= low.scores / ((5 + size) / 6) ** penalty - 1e-9).all()


class Chain:
    """A model that knows the last token only: 0.4 to A, which then leads into a bend, 0.6 to B and C, which fan out."""

    training = False
    sizes = Sizes(1, 16)

    def __init__(self) -> None:
        table = torch.zeros(16, 16, dtype=torch.float64)
        table[1, 3:6] = torch.tensor([0.4, 0.35, 0.25])  # start -> A, B, C
        table[3, 6:11] = torch.tensor([0.24, 0.19, 0.19, 0.19, 0.19])  # A -> 6 likeliest, but 0.096 in all
        table[4, 11:13] = 0.5  # B -> 11 or 12, 0.175 in all: they take both places of a beam of two
        table[5, 13] = 1.0
        table[6:11, 2] = 1.0  # 6 ends at once
        table[11:14, 3:13] = 0.1  # 11 and 12 go on to nothing likely
        table[[0, 2, 14, 15], 2] = 1.0
        self.table = table.log()

    def encode(self, source, lengths) -> None: ...
    def begin(self, memory) -> Chain:
        return self

    def select(self, rows) -> Chain:
        return self

    def decode(self, memory, last, cache):
        return self.table[last], cache


def test_the_greedy_path_is_not_lost() -> None:
    """A plain beam of two drops it at the second step, and ends with 0.0175 or less."""
    settings = {"longest": 3, **ENDS}
    low = greedy(Chain(), torch.zeros(1, 1), **settings)
    assert low.tokens.tolist() == [[3, 6, 2]]
    assert low.scores.exp().item() == pytest.approx(0.096)
    for width in (1, 2, 3):
        found = beam(Chain(), torch.zeros(1, 1), width=width, **settings)
        assert found.tokens.tolist() == [[3, 6, 2]]
        assert found.scores.exp().item() == pytest.approx(0.096)


def test_a_beam_wide_enough_finds_the_best_there_is() -> None:
    torch.manual_seed(3)
    net = model("transformer", layers=1)
    net.score.weight.data *= 4
    source, lengths, _ = batch()
    every = torch.tensor(list(itertools.product(range(9), repeat=3)))
    found = beam(net, source, lengths, width=9 * 9 * 9, longest=3, **ENDS)
    for i in range(4):
        with torch.no_grad():
            scores = score(net, source[[i]].expand(len(every), -1), lengths[[i]].expand(len(every)), every)
        assert found.scores[i].item() == pytest.approx(scores.max().item(), rel=1e-9)


def test_a_penalty_prefers_longer() -> None:
    torch.manual_seed(4)
    net = model("gru")
    source, lengths, _ = batch()
    short, long = (
        (beam(net, source, lengths, width=9, longest=6, penalty=p, **ENDS).tokens == ENDS["end"]).sum().item()
        for p in (0.0, 8.0)
    )
    assert long < short


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"width": 0}, "width=0"),
        ({"longest": 0}, "longest=0"),
        ({"penalty": -1.0}, "penalty=-1"),
        ({"start": 9}, "start=9 is no target token"),
        ({"end": -1}, "end=-1"),
    ],
)
def test_bad_settings_are_named(changed: dict, named: str) -> None:
    source, lengths, _ = batch()
    with pytest.raises(InputError, match=named):
        beam(model("cnn"), source, lengths, **{"width": 2, "longest": 3, **ENDS, **changed})


def test_training_mode_is_refused() -> None:
    with pytest.raises(InputError, match=r"\.eval"):
        greedy(model("cnn").train(), batch()[0], longest=3, **ENDS)
