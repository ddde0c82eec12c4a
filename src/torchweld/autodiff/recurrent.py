"""Recurrent layers spelled out step by step, as `torch._VF.lstm`, `gru`, `rnn_tanh` and `rnn_relu` are called.

Letters: T time, B batch, I inputs, H hidden. Source: torch.nn.LSTM, GRU, RNN (their equations, gate order included).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from torchweld.autodiff.rows import shape_of
from torchweld.autodiff.statistics import dropout
from torchweld.core import InputError


def _lstm_step(x, state, w, u, b, c):
    hidden, cell = state
    i, f, g, o = (F.linear(x, w, b) + F.linear(hidden, u, c)).chunk(4, -1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def _gru_step(x, state, w, u, b, c):
    (hidden,) = state
    (ri, zi, ni), (rh, zh, nh) = F.linear(x, w, b).chunk(3, -1), F.linear(hidden, u, c).chunk(3, -1)
    update = torch.sigmoid(zi + zh)
    return ((1 - update) * torch.tanh(ni + torch.sigmoid(ri + rh) * nh) + update * hidden,)


def _plain_step(activation):
    return lambda x, state, w, u, b, c: (activation(F.linear(x, w, b) + F.linear(state[0], u, c)),)


def _layers(step, x, states, params, has_biases, num_layers, p, train, bidirectional, batch_first):
    """Run `step` over time, layer by layer, both ways where asked; the output and the final states stacked."""
    x = x.transpose(0, 1) if batch_first else x  # (T, B, I)
    ways, per = 1 + bidirectional, 4 if has_biases else 2
    finals: list[tuple] = []
    for layer in range(num_layers):
        outputs = []
        for way in range(ways):
            k = layer * ways + way
            weights = [*params[k * per : (k + 1) * per], None, None][:4]
            state = tuple(s[k] for s in states)
            steps = range(shape_of(x)[0])
            hidden = {}
            for i in reversed(steps) if way else steps:
                state = step(x[i], state, *weights)
                hidden[i] = state[0]
            outputs.append(torch.stack([hidden[i] for i in steps]))
            finals.append(state)
        x = outputs[0] if ways == 1 else torch.cat(outputs, -1)
        if layer < num_layers - 1:
            x = dropout(x, p, train)
    x = x.transpose(0, 1) if batch_first else x
    return x, *(torch.stack([f[j] for f in finals]) for j in range(len(finals[0])))


def _padded_only(has_biases):
    if not isinstance(has_biases, bool):
        raise InputError("a packed sequence has no rule; give a padded batch")


def lstm(x, hx, params, has_biases, *rest):
    _padded_only(has_biases)
    return _layers(_lstm_step, x, tuple(hx), params, has_biases, *rest)


def gru(x, hx, params, has_biases, *rest):
    _padded_only(has_biases)
    return _layers(_gru_step, x, (hx,), params, has_biases, *rest)


def rnn_tanh(x, hx, params, has_biases, *rest):
    _padded_only(has_biases)
    return _layers(_plain_step(torch.tanh), x, (hx,), params, has_biases, *rest)


def rnn_relu(x, hx, params, has_biases, *rest):
    _padded_only(has_biases)
    return _layers(_plain_step(torch.relu), x, (hx,), params, has_biases, *rest)


def lstm_cell(x, hx, w, u, b=None, c=None):
    return _lstm_step(x, tuple(hx), w, u, b, c)


def gru_cell(x, hx, w, u, b=None, c=None):
    return _gru_step(x, (hx,), w, u, b, c)[0]


def rnn_tanh_cell(x, hx, w, u, b=None, c=None):
    return torch.tanh(F.linear(x, w, b) + F.linear(hx, u, c))


def rnn_relu_cell(x, hx, w, u, b=None, c=None):
    return torch.relu(F.linear(x, w, b) + F.linear(hx, u, c))
