"""What is read of a model, and what a backend has to offer to be read.

Shapes: T tokens, P positions (masks), L layers that were asked for, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from steer_llama.lm.load import Origin

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Conversation:
    """One conversation that the model is teacher-forced through."""

    ids_T: npt.NDArray[np.int32]
    masks_PT: npt.NDArray[np.bool_]
    """Which tokens each mean is taken over. Norms and single tokens are kept of the first mask."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """What is kept of one conversation."""

    mean_PLD: Floats
    """Mean residual over the tokens of each mask; zero where the mask is empty."""
    norm_L: Floats
    """Mean of ‖residual‖ over the tokens of the first mask."""
    tokens_LTD: Tensor | None
    """Every token of the first mask, in the model's own type, on the CPU; only on request."""


@dataclass(frozen=True)
class Wanted:
    """What is read of every conversation."""

    layers: tuple[int, ...]
    """0-based blocks, ascending; nothing above the last one is computed."""
    tokens: bool = False
    """Keep every token of the first mask too."""


@dataclass(frozen=True)
class Batches:
    """Which groups are read together, in which order."""

    groups: tuple[tuple[int, ...], ...]
    """Numbers of the groups, batch by batch; every group once."""
    token_budget: int
    """The most tokens of one forward pass. The same budget gives the same batches, and they the same bits."""
    reason: str
    """How they are read and why so, for the log."""
    engine: str = ""
    """What computes them, where there is a choice: another one gives other last bits too."""


class Reader(Protocol):
    """A backend: weights that can be read at layer L, by whatever engine runs them."""

    tokenizer: Any
    name: str
    """What the user calls the model."""
    fingerprint: str
    """Of weights and tokenizer: the same for the same files, whichever backend reads them."""
    origin: Origin
    dtype: str
    """Type that the residual stream is computed in, e.g. ``float32``."""
    n_layers: int
    width: int
    context_length: int | None
    about: str
    """What runs where, and why so; for the log."""

    def batches(self, groups: Sequence[Sequence[Conversation]], token_budget: int | None = None) -> Batches:
        """Plan the reading of ``groups`` (the answers of a pair, which share their beginning).

        Args:
            groups: all that will be read.
            token_budget: the most tokens of a forward pass, where an earlier run has settled it.
        """
        ...

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        """Run the conversations of one batch through the blocks.

        Raises:
            ModelError: the engine cannot read them.
        """
        ...

    def close(self) -> None:
        """Let go of what the backend holds besides memory (a process, a connection)."""
        ...
