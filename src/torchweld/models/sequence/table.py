"""The cores by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torchweld.core import InputError
from torchweld.models.sequence.attention import AttentionMixer
from torchweld.models.sequence.convolution import ConvolutionMixer
from torchweld.models.sequence.mixing import Mixer
from torchweld.models.sequence.network import SequenceModel, Sizes
from torchweld.models.sequence.recurrence import RecurrentMixer

_MIXERS: dict[str, Callable[[Sizes, bool], Mixer]] = {
    "cnn": lambda sizes, causal: ConvolutionMixer(sizes.features, causal, sizes.kernel),
    "gru": lambda sizes, causal: RecurrentMixer(sizes.features, causal),
    "transformer": lambda sizes, causal: AttentionMixer(sizes.features, causal, sizes.heads, sizes.rate),
}


def cores() -> tuple[str, ...]:
    """The names that `create` and `mixer` know.

    >>> cores()
    ('cnn', 'gru', 'transformer')
    """
    return tuple(_MIXERS)


def mixer(core: str, sizes: Sizes, causal: bool) -> Mixer:
    """One mixer of a core. Raises `InputError` for a core that is not in `cores()` and for sizes that do not fit."""
    if core not in _MIXERS:
        near = difflib.get_close_matches(core, _MIXERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_MIXERS)}"
        raise InputError(f"there is no core {core!r}; {hint}")
    return _MIXERS[core](sizes, causal)


def create(core: str, sizes: Sizes) -> SequenceModel:
    """A sequence model with fresh weights, in training mode. Errors as `mixer`'s, and for sizes below 1.

    >>> model = create("transformer", Sizes(source_tokens=80, target_tokens=14))
    >>> sum(p.numel() for p in model.parameters())
    174606
    """
    for what in ("source_tokens", "target_tokens", "features", "layers", "heads", "longest"):
        if getattr(sizes, what) < 1:
            raise InputError(f"{what}={getattr(sizes, what)} is not positive")
    encoding, decoding = ([mixer(core, sizes, causal) for _ in range(sizes.layers)] for causal in (False, True))
    return SequenceModel(sizes, encoding, decoding)
