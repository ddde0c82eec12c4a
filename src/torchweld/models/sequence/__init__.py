"""Sequence to sequence: encoder, attention, decoder, with a CNN, an RNN or a Transformer as the core."""

from torchweld.models.sequence.attention import AttentionMixer
from torchweld.models.sequence.convolution import ConvolutionMixer
from torchweld.models.sequence.decoding import Decoded, beam, greedy
from torchweld.models.sequence.mixing import Mixer, State
from torchweld.models.sequence.network import Cache, Memory, SequenceModel, Sizes
from torchweld.models.sequence.recurrence import RecurrentMixer
from torchweld.models.sequence.stack import Decoder, Encoder, Layer
from torchweld.models.sequence.table import cores, create, mixer

__all__ = [
    "AttentionMixer",
    "Cache",
    "ConvolutionMixer",
    "Decoded",
    "Decoder",
    "Encoder",
    "Layer",
    "Memory",
    "Mixer",
    "RecurrentMixer",
    "SequenceModel",
    "Sizes",
    "State",
    "beam",
    "cores",
    "create",
    "greedy",
    "mixer",
]
