"""What lies in each GPU's memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from steer_llama.errors import ConfigError
from steer_llama.lm.sizing.machine import CPU, Device
from steer_llama.lm.sizing.shape import ModelShape, Part
from steer_llama.lm.sizing.text import Text
from steer_llama.lm.sizing.work import ITEM_BYTES, pairs_per_pass

MARGIN = int(0.6 * 2**30)
"""Bytes for the CUDA context, cuBLAS's workspace and what the allocator cannot use."""
_LARGEST_COUNT = 64
"""More GPUs than this are not searched."""
_FLOAT32 = 4
_ARMS = 2


@dataclass(frozen=True)
class DeviceBytes:
    """One device's memory, in bytes."""

    blocks: int
    """Decoder blocks on it."""
    weights: int
    keys_values: int
    """At most: of one batch's tokens, in every block on it (kept only where a later pass needs them)."""
    activations: int
    """Of one pass, in the block that is running."""
    sums: int
    """The means of one pass's pairs, in float32, until they leave the device."""
    margin: int = MARGIN

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.keys_values + self.activations + self.sums + self.margin


def memory_of(
    shape: ModelShape,
    text: Text,
    count: int,
    dtype: str,
    *,
    parallel: str,
    layers: int,
    positions: int,
    token_budget: int,
) -> list[DeviceBytes]:
    """What lies on each of ``count`` devices.

    Args:
        shape: the model.
        text: the pairs.
        count: of devices.
        dtype: of the weights.
        parallel: ``layers``: each device has some of the blocks; ``tensor``: each has a part of every block.
        layers: that means are kept of.
        positions: masks.
        token_budget: tokens of a forward pass.

    Raises:
        ConfigError: the model cannot be divided so.
    """
    item = ITEM_BYTES[dtype]
    split = count if parallel == "tensor" else 1
    if parallel == "tensor":
        _check_tensor(shape, count)
        held = [(shape.n_layers, sum(_share(part, count) for part in shape.parts))] * count
    else:
        held = _spread(shape, count)
    per_token = 2 * shape.kv_heads // split * shape.head_dim * item
    sum_bytes = pairs_per_pass(text, token_budget) * _ARMS * positions * layers * shape.width * _FLOAT32
    return [
        DeviceBytes(
            blocks=blocks,
            weights=parameters * item,
            keys_values=max(token_budget, text.longest) * per_token * blocks,
            activations=token_budget * activation_bytes(shape, dtype, split),
            sums=-(-sum_bytes * blocks // shape.n_layers),
        )
        for blocks, parameters in held
    ]


def activation_bytes(shape: ModelShape, dtype: str, split: int = 1) -> int:
    """What one token takes while a block runs, at most: in the MLP or in attention, whichever is more.

    The residual stream, its normed copy and a float32 copy of it (norms and sums are float32) are there all the time;
    beside them the MLP's gate, its activation, the other input and their product, or attention's queries, keys and
    values before and after the rotation, and its output.
    """
    item = ITEM_BYTES[dtype]
    residual = shape.width * (2 * item + _FLOAT32)
    mlp = 4 * shape.mlp_width * item
    attention = (3 * shape.heads + 4 * shape.kv_heads) * shape.head_dim * item
    return residual + max(mlp, attention) // split


def possible_counts(shape: ModelShape, parallel: str) -> list[int]:
    """Numbers of devices that the model can be divided among, ascending."""
    if parallel == "layers":
        return list(range(1, min(_LARGEST_COUNT, shape.n_layers) + 1))
    return [count for count in range(1, min(_LARGEST_COUNT, shape.kv_heads) + 1) if shape.kv_heads % count == 0]


def smallest_count(
    shape: ModelShape,
    text: Text,
    device: Device,
    dtype: str,
    *,
    parallel: str,
    layers: int,
    positions: int,
    token_budget: int,
) -> int | None:
    """The fewest of these devices that it fits on; ``None`` where no number helps."""
    for count in possible_counts(shape, parallel) if device.name != CPU else [1]:
        parts = memory_of(
            shape,
            text,
            count,
            dtype,
            parallel=parallel,
            layers=layers,
            positions=positions,
            token_budget=token_budget,
        )
        if fits(parts, device):
            return count
    return None


def fits(parts: Sequence[DeviceBytes], device: Device) -> bool:
    """Whether the fullest of the devices has room."""
    return max(part.total for part in parts) <= device.memory_gib * 2**30


def _check_tensor(shape: ModelShape, count: int) -> None:
    if count > 1 and not any(part.sharded for part in shape.blocks):
        raise ConfigError(f"transformers has no tensor-parallel plan for {shape.architecture}. Use --parallel layers.")
    if shape.kv_heads % count:
        options = ", ".join(map(str, possible_counts(shape, "tensor")))
        raise ConfigError(
            f"{count} GPUs cannot divide the {shape.kv_heads} key-value heads of {shape.name}. "
            f"Use {options}, or --parallel layers."
        )


def _share(part: Part, count: int) -> int:
    return part.parameters - part.sharded + -(-part.sharded // count)


def _spread(shape: ModelShape, count: int) -> list[tuple[int, int]]:
    """Blocks and parameters per device, as transformers' ``device_map="auto"`` places them.

    It fills one device after the other up to an even share and 1.25 times the largest piece, keeps room on the first
    for the largest piece that is still to come, and gives the last whatever is left.
    """
    head = shape.lm_head.parameters if shape.lm_head else 0
    blocks = [block.parameters for block in shape.blocks]
    to_come = max(*blocks, head)
    limit = shape.parameters // count + int(1.25 * max(to_come, shape.embeddings.parameters))
    held = [(0, shape.embeddings.parameters + shape.rest.parameters)]
    for size in blocks:
        room = limit - to_come if len(held) == 1 else limit
        on_it, filled = held[-1]
        if filled + size <= room or len(held) == count:
            held[-1] = (on_it + 1, filled + size)
        else:
            held.append((1, size))
    held[-1] = (held[-1][0], held[-1][1] + head)
    return held + [(0, 0)] * (count - len(held))
