"""Several processes as one: the same command under `torchrun`, on one machine or many.

A step's samples are dealt out to the processes; DistributedDataParallel adds their gradients up, weighted by samples,
so that they are those of one process on the joined batch. Only rank 0 writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from torchweld.core import InputError


@dataclass(frozen=True)
class Team:
    """This process's place among `world` processes."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def wrapped(self, model: nn.Module, device: str, sync_batch_norm: bool) -> nn.Module:
        """The model whose gradients are added up over the team. Raises `InputError` for batch norm synced on a CPU."""
        if sync_batch_norm and not device.startswith("cuda"):
            raise InputError(
                "sync_batch_norm needs GPUs: torch synchronises batch norm there only; leave it off on a CPU"
            )
        if self.world == 1:
            return model
        if sync_batch_norm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        ids = [torch.device(device)] if device.startswith("cuda") else None
        return DistributedDataParallel(model, device_ids=ids)

    def apart(self, model: nn.Module, last: bool) -> Any:
        """Inside, gradients of a part of a step stay here until the last part's are added up over the team."""
        return nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync()

    def total(self, sums: Tensor) -> Tensor:
        """The sum over all processes, on each."""
        if self.world == 1:
            return sums
        sums = sums.clone()
        distributed.all_reduce(sums)
        return sums

    def gathered(
        self,
        own: Tensor,  # (D, B)
        count: int,
    ) -> Tensor:  # (D, count)
        """Columns that were dealt out (rank r has r, r + world, and so on), put together, on each process."""
        if self.world == 1:
            return own
        whole = own.new_zeros(len(own), count)
        whole[:, self.rank :: self.world] = own
        return self.total(whole)

    def agreed(self, value: Any) -> Any:
        """Rank 0's value, on each process."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team that `torchrun` announces in the environment, joined and left again; else a team of one."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield _current()
        return
    cuda = device.startswith("cuda")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield _current()
    finally:
        distributed.destroy_process_group()


def _current() -> Team:
    if not (distributed.is_available() and distributed.is_initialized()):
        return Team()
    return Team(distributed.get_rank(), distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
