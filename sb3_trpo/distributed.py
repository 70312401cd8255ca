"""Means over processes: the identity for one, ``torch.distributed`` for several."""

import atexit
import functools
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch as th
import torch.distributed as dist

from sb3_trpo.arguments import check_value


class Processes(Protocol):
    """The processes that learn together."""

    rank: int
    size: int

    def sum(self, vector: th.Tensor) -> th.Tensor:
        """
        Sum over the processes.

        :param vector: (P,) of this one; may be overwritten
        :return: (P,), bitwise the same on each
        """
        ...

    def exchange(self, value: Any) -> list[Any]:
        """
        Show each other a value.

        :param value: of this process; picklable and small
        :return: those of all, by rank
        """
        ...

    def from_first(self, tensor: th.Tensor) -> None:
        """
        Overwrite a tensor with that of rank 0.

        :param tensor: of the same shape and dtype everywhere
        """
        ...


class OneProcess:
    """A process on its own."""

    rank, size = 0, 1

    def sum(self, vector: th.Tensor) -> th.Tensor:
        """Return the vector."""
        return vector

    def exchange(self, value: Any) -> list[Any]:
        """Return the only value."""
        return [value]

    def from_first(self, tensor: th.Tensor) -> None:
        """Leave the tensor."""


class ProcessGroup:
    """All processes of the initialised ``torch.distributed`` group."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._needs_gpu = dist.get_backend() == "nccl"
        _end_gently()

    def sum(self, vector: th.Tensor) -> th.Tensor:
        """Sum over the ranks, in one all-reduce."""
        sent = self._movable(vector)
        with self._contact():
            dist.all_reduce(sent)
        return sent.to(vector.device)

    def exchange(self, value: Any) -> list[Any]:
        """Gather the ranks' values."""
        values: list[Any] = [None] * self.size
        with self._contact():
            dist.all_gather_object(values, value)
        return values

    @th.no_grad()
    def from_first(self, tensor: th.Tensor) -> None:
        """Overwrite a tensor with that of rank 0."""
        sent = self._movable(tensor.detach().contiguous())
        with self._contact():
            dist.broadcast(sent, src=0)
        tensor.copy_(sent)

    def _movable(self, tensor: th.Tensor) -> th.Tensor:
        return tensor.cuda() if self._needs_gpu else tensor

    @contextmanager
    def _contact(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch's own errors, of any backend, inherit from it
            raise RuntimeError(
                f"Rank {self.rank} of {self.size} lost contact with another rank: most likely that "
                "has died, or was silent for longer than the timeout given to init_process_group. "
                "The policy is as it was after the last update: start all ranks again from a "
                f"checkpoint (torchrun --max-restarts does). The cause: {error}"
            ) from error


def processes(*, distributed: bool) -> Processes:
    """
    Find out with whom to learn.

    :param distributed: whether the user wants to learn together with other processes
    :return: this process alone, or the initialised group
    :raises ValueError: there is no group, or it is no bool
    """
    check_value("distributed", distributed)
    is_group = dist.is_available() and dist.is_initialized()
    if distributed and not is_group:
        raise ValueError(
            "distributed must be False while there is no process group, got True: to learn with "
            "several processes, call torch.distributed.init_process_group('gloo') first (GPUs: "
            "'nccl') and start the script with torchrun --nproc-per-node=2 script.py"
        )
    if not is_group or dist.get_world_size() == 1:
        return OneProcess()
    if distributed:
        return ProcessGroup()
    _warn_of_separate_learning()
    return OneProcess()


@functools.cache  # once
def _end_gently() -> None:
    """
    Let gloo's threads finish before Python ends.

    They give the last message's tensors back to Python, and abort the process (torch 2.13: one run
    in four) where Python is already being taken down. They need its lock for a moment only.
    """
    atexit.register(time.sleep, 0.1)


@functools.cache  # once
def _warn_of_separate_learning() -> None:
    warnings.warn(
        f"A torch.distributed group of {dist.get_world_size()} processes is up, but distributed is "
        "False: each process learns alone. Pass distributed=True to learn together.",
        stacklevel=5,
    )


def summed_where_any(
    group: Processes, parts: Sequence[th.Tensor | None], like: Sequence[th.Tensor]
) -> list[th.Tensor | None]:
    """
    Sum gradients over the processes, in one all-reduce.

    :param group: the processes
    :param parts: of this process, None where it has nothing to add
    :param like: tensors of their shapes, of one dtype
    :return: the sums, None where no process had anything
    """
    if group.size == 1:
        return list(parts)
    pairs = list(zip(parts, like, strict=True))
    flat = [(th.zeros_like(x) if part is None else part).reshape(-1) for part, x in pairs]
    has_part = flat[0].new_tensor([part is not None for part in parts])
    sizes = [*map(len, flat), len(parts)]
    *sums, counts = group.sum(th.cat([*flat, has_part])).split_with_sizes(sizes)
    return [
        total.view_as(x) if count else None
        for total, x, count in zip(sums, like, counts.tolist(), strict=True)
    ]
