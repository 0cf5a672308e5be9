"""The same run in several processes under torchrun: who am I, what do the others say."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Process:
    """Name this process among all of the run; alone, every exchange costs nothing.

    >>> Process().leads, Process().size
    (True, 1)
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def highest(self, values: list[float]) -> list[float]:
        """Agree on the elementwise maximum over all processes.

        >>> Process().highest([1.0, 0.0])
        [1.0, 0.0]
        """
        if self.size == 1:
            return values
        import torch
        import torch.distributed as dist

        shared = torch.tensor(values, dtype=torch.float64, device=_device(self))
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return shared.tolist()

    def from_leader(self, values: list[float]) -> list[float]:
        """Take the leader's numbers; everybody passes a list of the same length.

        >>> Process().from_leader([3.0])
        [3.0]
        """
        return self._from(0, values) if self.size > 1 else values

    def _from(self, rank: int, values: list[float]) -> list[float]:
        import torch
        import torch.distributed as dist

        shared = torch.tensor(values, dtype=torch.float64, device=_device(self))
        dist.broadcast(shared, rank)
        return shared.tolist()

    def text_from_leader(self, text: str) -> str:
        """Take the leader's text.

        >>> Process().text_from_leader("runs/digits")
        'runs/digits'
        """
        return self._text_from(0, text) if self.size > 1 else text

    def _text_from(self, rank: int, text: str) -> str:
        import torch
        import torch.distributed as dist

        shared = [text]
        dist.broadcast_object_list(shared, rank, device=torch.device(_device(self)))
        return shared[0]

    def joined(self, facts: dict[str, str]) -> dict[str, str]:
        """Put the facts of all processes together.

        >>> Process().joined({"a": "b"})
        {'a': 'b'}
        """
        if self.size == 1:
            return facts
        found: dict[str, str] = {}
        for rank in range(self.size):
            found |= json.loads(self._text_from(rank, json.dumps(facts)))
        return found

    def alone(self) -> "Process":
        """This process as a run of its own that leaves the processor's share to the others.

        >>> Process(rank=1, size=2, local_rank=1, local_size=2).alone().leads
        True
        """
        return Process(local_rank=self.local_rank, local_size=self.local_size)

    def wrap(self, network: "torch.nn.Module") -> "torch.nn.Module":
        """Let gradients be averaged over the processes; alone, return the network itself."""
        if self.size == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(network)


@contextmanager
def joined(wanted: str) -> Iterator[Process]:
    """Be among the other processes for a while if torchrun started this one.

    Args:
        wanted: the device asked for.
    """
    process = join(wanted)
    try:
        yield process
    finally:
        leave()


def join(wanted: str) -> Process:
    """Join the other processes if torchrun started this one.

    Args:
        wanted: the device asked for; `cpu` exchanges through gloo, CUDA through NCCL.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Process()
    import torch
    import torch.distributed as dist

    # its default arguments would hold a group that is already there; a group that outlives `leave`
    # lets go of its last tensor while Python ends, which aborts the process now and then
    import torch.distributed.nn.functional

    cuda = wanted != "cpu" and torch.cuda.is_available()
    process = Process(
        *(int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    )
    if cuda:
        torch.cuda.set_device(process.local_rank)
    # the leader alone evaluates while the others wait
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=1))
    return process


def leave() -> None:
    """Leave the process group, if there is one."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _device(process: Process) -> str:
    import torch.distributed as dist

    return f"cuda:{process.local_rank}" if dist.get_backend() == "nccl" else "cpu"
