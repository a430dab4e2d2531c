"""Tensor parallelism under torchrun: every process holds a slice of each matrix, and all run the same passes together.

Rank 0 leads: it alone reads and writes files, and tells the others what to run before it runs it itself.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed

from steer_llama.errors import ModelError
from steer_llama.lm.reading.conversation import Batches, Conversation, Pooled, Reader, Wanted


def world_size() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Whether this process only takes part in what rank 0 does."""
    return world_size() > 1 and os.environ.get("RANK", "0") != "0"


@dataclass(frozen=True)
class _Plan:
    groups: list[list[Conversation]]
    token_budget: int | None


@dataclass(frozen=True)
class _Read:
    conversations: list[Conversation]
    wanted: Wanted


_Order = _Plan | _Read | None
"""What the followers do next; ``None``: nothing more."""


class Leader:
    """A reader on rank 0 whose every call the followers repeat (see `Reader`)."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.tokenizer = reader.tokenizer
        self.name, self.fingerprint, self.dtype = reader.name, reader.fingerprint, reader.dtype
        self.origin = reader.origin
        self.n_layers, self.width, self.context_length = reader.n_layers, reader.width, reader.context_length
        self.about = f"{reader.about}, in slices over {world_size()} processes"

    def batches(self, groups: Sequence[Sequence[Conversation]], token_budget: int | None = None) -> Batches:
        """See `Reader`."""
        # The plan is made from all groups; the followers need what it is made of, once.
        _tell(_Plan([list(group) for group in groups], token_budget))
        return self._reader.batches(groups, token_budget)

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        """See `Reader`."""
        _tell(_Read(list(conversations), wanted))
        return self._reader.read(conversations, wanted)

    def close(self) -> None:
        """Let the followers end."""
        _tell(None)
        self._reader.close()
        distributed.destroy_process_group()


class Follower(Leader):
    """The same reader on the other ranks, which do as they are told."""

    def follow(self) -> None:
        """Run what rank 0 runs, until it closes."""
        while (order := _told()) is not None:
            if isinstance(order, _Plan):
                self._reader.batches(order.groups, order.token_budget)
            else:
                self._reader.read(order.conversations, order.wanted)
        self._reader.close()
        distributed.destroy_process_group()


def in_parallel(reader: Reader) -> Reader:
    """The reader of this process: a leader or a follower under torchrun, else the reader itself.

    Raises:
        ModelError: torchrun has started several processes, but the weights are not sliced over them.
    """
    if world_size() == 1:
        return reader
    if not distributed.is_initialized():
        raise ModelError(f"{reader.name} was not sliced over torchrun's {world_size()} processes. Start only one.")
    return Leader(reader) if distributed.get_rank() == 0 else Follower(reader)


def _tell(order: _Order) -> None:
    distributed.broadcast_object_list([order], src=0, device=_wire())


def _told() -> _Order:
    orders: list[_Order] = [None]
    distributed.broadcast_object_list(orders, src=0, device=_wire())
    return orders[0]


def _wire() -> torch.device:
    """Where a message has to lie for the group's backend."""
    cuda = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
