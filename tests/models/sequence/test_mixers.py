"""The mixers' own rules, and the table's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchweld.core import InputError
from torchweld.models import sequence
from torchweld.models.sequence import ConvolutionMixer, RecurrentMixer, Sizes


def test_both_directions_are_torchs_bidirectional_gru_on_packed_sequences() -> None:
    torch.manual_seed(0)
    ours = RecurrentMixer(8, causal=False).double()
    theirs = nn.GRU(8, 4, batch_first=True, bidirectional=True).double()
    theirs.load_state_dict(
        {**ours.ahead.state_dict(), **{f"{k}_reverse": v for k, v in ours.back.state_dict().items()}}
    )
    x, lengths = torch.randn(3, 6, 8, dtype=torch.float64), torch.tensor([6, 2, 4])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)[0]
    there = (torch.arange(6) < lengths[:, None])[..., None]
    torch.testing.assert_close(ours(x, lengths)[0] * there, expected)


def test_flipping_the_padding_too_is_another_function() -> None:
    """The mistaken form of the way back: padding in front of a sample's own part."""
    torch.manual_seed(1)
    mixer = RecurrentMixer(8, causal=False).double()
    x, lengths = torch.randn(2, 5, 8, dtype=torch.float64), torch.tensor([3, 3])
    mistaken = mixer.back(x.flip(1))[0].flip(1)
    assert (mixer(x, lengths)[0][:, :3, 4:] - mistaken[:, :3]).abs().max() > 1e-3


@pytest.mark.parametrize("kernel", [0, 2, 4, -1])
def test_an_even_kernel_has_no_middle(kernel: int) -> None:
    with pytest.raises(InputError, match="odd"):
        ConvolutionMixer(8, causal=False, kernel=kernel)


def test_half_a_feature_is_no_direction() -> None:
    with pytest.raises(InputError, match="even"):
        sequence.create("gru", Sizes(5, 5, features=7, heads=7))


def test_heads_must_divide() -> None:
    with pytest.raises(InputError, match="heads"):
        sequence.create("transformer", Sizes(5, 5, features=10, heads=4))


def test_an_unknown_core_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="transformer"):
        sequence.create("transfomer", Sizes(5, 5))
    with pytest.raises(InputError, match="known are cnn, gru, transformer"):
        sequence.create("lstm-", Sizes(5, 5))


@pytest.mark.parametrize("core", sequence.cores())
def test_only_the_mixer_differs(core: str) -> None:
    """What the comparison rests on."""
    shapes = {
        name: p.shape for name, p in sequence.create(core, Sizes(5, 5)).named_parameters() if ".mixer." not in name
    }
    others = {
        name: p.shape for name, p in sequence.create("cnn", Sizes(5, 5)).named_parameters() if ".mixer." not in name
    }
    assert shapes == others
