"""Several processes that train one model: each takes its share of every batch, and all come to the same weights.

A process alone is a team of one, for which nothing here costs anything.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Fact = TypeVar("Fact")

# Shapes: B = a batch.


@dataclass(frozen=True)
class Team:
    """Who we are among how many."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """One of us speaks, saves and reports."""
        return self.rank == 0

    @property
    def own_name(self) -> tuple[int, ...]:
        """What sets our random numbers apart from the others'; nothing for one who is alone."""
        return (self.rank,) if self.size > 1 else ()

    def share(self, batch_B: Tensor) -> Tensor:
        """Our part of a batch: every `size`-th."""
        return batch_B[self.rank :: self.size]

    def together(self, model: nn.Module) -> nn.Module:
        """The model as the team trains it: its gradients are the mean over the team, also those of batch statistics
        on CUDA. (On CPUs torch has no shared batch statistics: there each process normalises by its own share.)"""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if self.size == 1 or not trained:
            return model
        if trained[0].is_cuda:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(model)

    def level(self, *models: nn.Module) -> None:
        """Everybody's buffers become the leader's: batch statistics are those of one process's share."""
        if self.size > 1:
            for model in models:
                for buffer in model.buffers():
                    dist.broadcast(buffer, src=0)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the team, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Until all of us are here."""
        if self.size > 1:
            dist.barrier()

    def agree_on(self, fact: Fact) -> Fact:
        """What the leader says, heard by all."""
        if self.size == 1:
            return fact
        heard: list[Fact] = [fact]
        dist.broadcast_object_list(heard, src=0)
        return heard[0]


def join(device: torch.device) -> Team:
    """The team that torchrun started us in, or a team of one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Team()
    if not dist.is_initialized():
        # The leader may wait long for another run's labels, and all for it. Who is dead is noticed by torchrun.
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=7))
    return Team(dist.get_rank(), dist.get_world_size())
