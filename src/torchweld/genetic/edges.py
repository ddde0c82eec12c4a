"""Edge recombination (Whitley, Starkweather & Fuquay 1989): children built from their parents' edges.

Letters: K pairs, n places. The two children of a pair start at the first place of either parent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchweld.genetic.setting import Setting


def edge_recombination_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Two children (K, n): from each place on to the unvisited neighbour, in either parent, that has fewest unvisited
    neighbours itself, ties at random; where none is left, to a random unvisited place."""
    start = torch.cat([first[:, 0], second[:, 0]])
    child = _walk(torch.cat([_neighbours(first, second)] * 2), start, setting)
    return child[: len(first)], child[len(first) :]


def _neighbours(first: Tensor, second: Tensor) -> Tensor:
    """(K, n, 4): each value's neighbours in both parents, as rings; a repeated one is replaced by n, nobody."""
    sides = [_beside(row, shift) for row in (first, second) for shift in (1, -1)]
    table = torch.stack(sides, 2)
    n = first.shape[1]
    for side in range(1, 4):
        repeated = (table[:, :, :side] == table[:, :, side : side + 1]).any(2)
        table[:, :, side].masked_fill_(repeated, n)
    return table


def _beside(row: Tensor, shift: int) -> Tensor:
    return torch.empty_like(row).scatter_(1, row, row.roll(shift, 1))


def _walk(table: Tensor, start: Tensor, setting: Setting) -> Tensor:
    k, n, _ = table.shape
    pair = torch.arange(k, device=table.device)
    # column n is nobody: never open, and its degree is never looked at
    unvisited = torch.ones(k, n + 1, dtype=torch.bool, device=table.device)
    unvisited[:, n] = False
    degree = (table < n).sum(2, dtype=torch.float64)
    degree = torch.cat([degree, degree.new_zeros(k, 1)], 1)
    child = torch.empty(k, n, dtype=table.dtype, device=table.device)
    tie = setting.rand(n, k, 4)
    current = start
    for step in range(n):
        child[:, step] = current
        unvisited[pair, current] = False
        near = table[pair, current]  # (K, 4)
        degree.scatter_add_(1, near, degree.new_full(near.shape, -1.0))
        if step == n - 1:
            break
        is_open = unvisited.gather(1, near)
        choice = (degree.gather(1, near) + tie[step]).masked_fill_(~is_open, torch.inf).argmin(1, keepdim=True)
        current = near.gather(1, choice).squeeze(1)
        stuck = ~is_open.any(1)
        if bool(stuck.any()):
            anyone = setting.rand(int(stuck.sum()), n).masked_fill_(~unvisited[stuck, :n], -1.0).argmax(1)
            current[stuck] = anyone
    return child
