"""What is computed and written, and how long that takes.

The engine computes what a pair's two conversations begin with once, pads nothing, projects nothing onto the vocabulary,
and runs no block above the deepest one that is wanted.
"""

from dataclasses import dataclass

from steer_llama.lm.sizing.machine import Device
from steer_llama.lm.sizing.shape import ModelShape
from steer_llama.lm.sizing.text import Text

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_ARMS = 2
_FLOAT32 = 4
_REDUCED = 2
"""Times per block that tensor-parallel GPUs add up their shares: after attention and after the MLP."""


@dataclass(frozen=True)
class Work:
    """Floating-point operations, a multiplication and an addition counted as two."""

    blocks: int
    """That run: all up to the deepest layer wanted."""
    active: int
    """Matrix elements that a token is multiplied with, over those blocks."""
    matrices: int
    """2 · active · tokens."""
    attention: int
    """Scores and weighted sums: 4 · heads · head width · blocks · Σ context (sliding windows counted as if open)."""

    @property
    def flops(self) -> int:
        """Both."""
        return self.matrices + self.attention


@dataclass(frozen=True)
class Seconds:
    """What the time consists of."""

    arithmetic: float
    """Operations over the speed that is reached."""
    weights: float
    """Reading the blocks' weights from the GPU's memory, once a pass; it goes on beside the arithmetic."""
    exchange: float
    """Between tensor-parallel GPUs."""
    load: float
    """Weights from disk."""
    write: float
    """The file to disk."""

    @property
    def read(self) -> float:
        """The pairs through the blocks: the slower of arithmetic and memory, and then the exchange."""
        return max(self.arithmetic, self.weights) + self.exchange

    @property
    def total(self) -> float:
        """One after another."""
        return self.load + self.read + self.write


@dataclass(frozen=True)
class FileBytes:
    """The size of the activations file, without its few kilobytes of names and counts."""

    means: int
    norms: int
    tokens: int
    """Single tokens, where they are asked for."""
    every_token: int
    """For comparison: every response token of every layer as float32, which is how it was done before."""

    @property
    def total(self) -> int:
        """What is written."""
        return self.means + self.norms + self.tokens


def work_of(shape: ModelShape, text: Text, deepest: int) -> Work:
    """What reading ``text`` up to the layer ``deepest`` takes."""
    ran = shape.blocks[: deepest + 1]
    active = sum(block.active for block in ran)
    attention = 4 * shape.heads * shape.head_dim * len(ran) * text.context
    return Work(len(ran), active, 2 * active * text.computed, attention)


def file_of(shape: ModelShape, text: Text, layers: int, positions: int, dtype: str, *, tokens: bool) -> FileBytes:
    """What is kept of ``layers`` layers: a mean per position, a norm, and with ``tokens`` every response token."""
    rows = text.pairs * _ARMS * layers
    single = text.response * layers * shape.width * ITEM_BYTES[dtype] if tokens else 0
    every = text.response * shape.n_layers * shape.width * _FLOAT32
    return FileBytes(rows * positions * shape.width * _FLOAT32, rows * _FLOAT32, single, every)


def time_of(
    shape: ModelShape,
    text: Text,
    work: Work,
    file_bytes: int,
    device: Device,
    dtype: str,
    *,
    together: int,
    mfu: float,
    token_budget: int,
    disk: float,
) -> Seconds:
    """How long it takes.

    Args:
        shape: the model.
        text: the pairs.
        work: what is computed.
        file_bytes: what is written.
        device: one of the devices.
        dtype: of the weights.
        together: devices that work at the same time: 1 where the layers are spread over several, since a token's layers
            come one after another.
        mfu: share of the peak that is reached.
        token_budget: tokens of a forward pass.
        disk: GB/s.
    """
    item = ITEM_BYTES[dtype]
    exchange = 0.0
    if together > 1 and device.link:
        summed = _REDUCED * work.blocks * text.computed * shape.width * item
        exchange = summed * 2 * (together - 1) / together / (device.link * 1e9)  # a ring all-reduce
    weights = 0.0
    if device.bandwidth:
        # A pass of many tokens touches every expert, so all weights of the blocks are read.
        held = sum(block.parameters for block in shape.blocks[: work.blocks]) * item
        weights = passes_of(text, token_budget) * held / together / (device.bandwidth * 1e9)
    return Seconds(
        arithmetic=work.flops / (device.tflops(dtype) * 1e12 * mfu * together),
        weights=weights,
        exchange=exchange,
        load=shape.parameters * item / (disk * 1e9),
        write=file_bytes / (disk * 1e9),
    )


def passes_of(text: Text, token_budget: int) -> int:
    """Forward passes, at least: as many as there are full batches of tokens."""
    return -(-text.computed // token_budget)


def pairs_per_pass(text: Text, token_budget: int) -> int:
    """Pairs of which a pass has tokens, about."""
    return max(1, -(-token_budget * text.pairs // text.computed))
