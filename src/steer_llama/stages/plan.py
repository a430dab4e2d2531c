"""``plan``: whether a model fits, how long reading the pairs takes, and how large the file gets; no weights."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steer_llama.activations import check_positions
from steer_llama.config import DEFAULT_POSITIONS
from steer_llama.errors import ConfigError
from steer_llama.lm.layers import check_layers
from steer_llama.lm.sizing import (
    CPU,
    GPUS,
    Device,
    DeviceBytes,
    FileBytes,
    ModelShape,
    Seconds,
    Text,
    Work,
    file_of,
    fits,
    measured_tflops,
    memory_of,
    pairs_per_pass,
    parse_gpus,
    passes_of,
    read_shape,
    smallest_count,
    text_of_pairs,
    this_cpu,
    time_of,
    tokenizer_of,
    uniform_text,
    work_of,
)
from steer_llama.pairs import read_pairs
from steer_llama.progress import Reporter

PROMPT_TOKENS, ANSWER_TOKENS, PAIRS = 40, 170, 1000
"""Where no file of pairs is given. Measured on real pairs of Pi and Llama with SmolLM2's tokenizer: 42 tokens that both
conversations begin with, and 153 (playful) to 355 (formatting) in an answer."""
TOKEN_BUDGET = 1024
"""The most tokens of one forward pass."""
DISK = 1.0
"""GB/s: a plain SSD; a network drive has less, an NVMe drive more."""
CPU_MFU = 0.75
"""Share of the processor's own matrix products, measured with benchmarks/plan.py: 0.72 for `extract` with SmolLM2,
0.85 to 0.87 for layers of the 70B shape."""
GPU_MFU = 0.45
"""Assumed, not measured: what large dense models commonly reach in a forward pass of a thousand tokens and more."""


@dataclass(frozen=True)
class Asked:
    """What is to be planned."""

    model: str
    gpus: str
    """``8xH100``, or ``cpu``."""
    pairs: int = PAIRS
    prompt_tokens: int = PROMPT_TOKENS
    answer_tokens: int = ANSWER_TOKENS
    pairs_file: Path | None = None
    """Instead of the three numbers."""
    layers: tuple[int, ...] | None = None
    """That are kept; default: all."""
    positions: tuple[str, ...] = DEFAULT_POSITIONS
    tokens: bool = False
    dtype: str = "auto"
    parallel: Literal["layers", "tensor"] = "layers"
    token_budget: int = TOKEN_BUDGET
    mfu: float | None = None
    """Share of the peak; default: measured on CPUs, assumed on GPUs."""
    tflops: float | None = None
    """Of one device; default: the data sheet's, on a CPU measured now."""
    disk: float = DISK
    """GB/s."""


@dataclass(frozen=True)
class Plan:
    """The answer, with everything that it was computed from."""

    shape: ModelShape
    device: Device
    count: int
    parallel: Literal["layers", "tensor"]
    dtype: str
    dtype_reason: str
    text: Text
    layers: int
    """Kept in the file."""
    positions: int
    token_budget: int
    tflops: float
    tflops_reason: str
    mfu: float
    mfu_reason: str
    disk: float
    memory: tuple[DeviceBytes, ...]
    """Device by device."""
    fits: bool
    smallest_count: int | None
    """The fewest such devices that it fits on."""
    work: Work
    seconds: Seconds
    file: FileBytes

    @property
    def fullest(self) -> DeviceBytes:
        """The device with the least room left."""
        return max(self.memory, key=lambda part: part.total)

    @property
    def passes(self) -> int:
        """Forward passes."""
        return passes_of(self.text, self.token_budget)

    @property
    def pairs_per_pass(self) -> int:
        """Pairs of which a pass has tokens, about."""
        return pairs_per_pass(self.text, self.token_budget)

    @property
    def together(self) -> int:
        """Devices that compute at the same time."""
        return self.count if self.parallel == "tensor" else 1


def plan(asked: Asked, reporter: Reporter) -> Plan:
    """Work out what was asked.

    Raises:
        ConfigError: an unknown GPU, numbers that cannot be, or a division that the model does not allow.
        FileError: the file of pairs cannot be used.
        LayerError: a layer that the model does not have.
        ModelError: there is no such configuration.
    """
    _check(asked)
    count, name = parse_gpus(asked.gpus)
    positions = check_positions(asked.positions)
    shape = read_shape(asked.model)
    if asked.layers is not None:
        check_layers(asked.layers, shape.n_layers, shape.name)
    layers = tuple(sorted(set(asked.layers if asked.layers is not None else range(shape.n_layers))))
    text = _text(asked, reporter)
    dtype, dtype_reason = _dtype(asked.dtype, shape, name)
    device, tflops_reason = _device(name, dtype, asked, shape)
    default_mfu = (CPU_MFU, "measured by benchmarks/plan.py") if name == CPU else (GPU_MFU, "assumed, not measured")
    mfu, mfu_reason = default_mfu if asked.mfu is None else (asked.mfu, "as asked")
    how = {"layers": len(layers), "positions": len(positions), "token_budget": asked.token_budget}
    memory = memory_of(shape, text, count, dtype, parallel=asked.parallel, **how)
    work = work_of(shape, text, layers[-1])
    file = file_of(shape, text, len(layers), len(positions), dtype, tokens=asked.tokens)
    seconds = time_of(
        shape,
        text,
        work,
        file.total,
        device,
        dtype,
        together=count if asked.parallel == "tensor" else 1,
        mfu=mfu,
        token_budget=asked.token_budget,
        disk=asked.disk,
    )
    return Plan(
        shape=shape,
        device=device,
        count=count,
        parallel=asked.parallel,
        dtype=dtype,
        dtype_reason=dtype_reason,
        text=text,
        layers=len(layers),
        positions=len(positions),
        token_budget=asked.token_budget,
        tflops=device.tflops(dtype),
        tflops_reason=tflops_reason,
        mfu=mfu,
        mfu_reason=mfu_reason,
        disk=asked.disk,
        memory=tuple(memory),
        fits=fits(memory, device),
        smallest_count=smallest_count(shape, text, device, dtype, parallel=asked.parallel, **how),
        work=work,
        seconds=seconds,
        file=file,
    )


def _check(asked: Asked) -> None:
    counts = ("pairs", "prompt_tokens", "answer_tokens", "token_budget")
    for name, value in ((name, getattr(asked, name)) for name in counts):
        if value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: expected 1 or more.")
    if asked.layers is not None and not asked.layers:
        raise ConfigError("--layers names none: give numbers with commas, e.g. 20,40, or leave it out for all.")
    for name, given in (("tflops", asked.tflops), ("disk", asked.disk), ("mfu", asked.mfu)):
        if given is not None and given <= 0:
            raise ConfigError(f"--{name} {given:g}: expected a number above 0.")
    if asked.mfu is not None and asked.mfu > 1:
        raise ConfigError(f"--mfu {asked.mfu:g}: expected a share of the peak, at most 1.")


def _text(asked: Asked, reporter: Reporter) -> Text:
    if asked.pairs_file is None:
        return uniform_text(asked.pairs, asked.prompt_tokens, asked.answer_tokens)
    pairs = read_pairs(asked.pairs_file).pairs
    return text_of_pairs(pairs, tokenizer_of(asked.model, reporter))


def _dtype(wanted: str, shape: ModelShape, name: str) -> tuple[str, str]:
    dtype, reason = _plain_dtype(wanted, shape, name)
    if shape.quantised:
        reason += f"; its {shape.quantised} quantisation is not counted, so the weights take less than this"
    return dtype, reason


def _plain_dtype(wanted: str, shape: ModelShape, name: str) -> tuple[str, str]:
    if wanted != "auto":
        return wanted, "as asked"
    if name == CPU:
        return "float32", "float32 on a CPU"
    if shape.dtype == "bfloat16" and GPUS[name].bfloat16 is None:
        return "float16", f"{name} has no units for bfloat16, the weights' own: give --dtype float16 to extract too"
    return shape.dtype, "the weights' own"


def _device(name: str, dtype: str, asked: Asked, shape: ModelShape) -> tuple[Device, str]:
    if name == CPU:
        given = asked.tflops
        speed = given or measured_tflops(dtype, asked.token_budget, shape.width, shape.mlp_width)
        return this_cpu(dtype, speed), "as asked" if given else "measured now: matrix products of the model's shape"
    device = GPUS[name]
    if asked.tflops is None:
        return device, "dense, from the data sheet"
    changed: dict[str, Any] = {dtype: asked.tflops}
    return dataclasses.replace(device, **changed), "as asked"
