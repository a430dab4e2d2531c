"""How many tokens go through the model at once: as few as give the speed, and as many as the memory takes."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.machine_memory import total_bytes
from steer_llama.lm.packing import Blocks
from steer_llama.lm.reading.conversation import Conversation, Wanted
from steer_llama.lm.reading.packed import PackedReader
from steer_llama.lm.reading.remembered import remembered

_TRIED = {"cpu": (512, 1024, 2048)}
_TRIED_ELSEWHERE = (2048, 4096, 8192, 16384)
_GOOD_ENOUGH = 0.95
"""Of the best speed: the smallest budget that reaches it is taken, since memory grows with it."""
_SHARE = 0.5
"""Of the memory that the weights leave, for one pass; the rest is the allocator's and other programs'."""
_LEAST = 256
_ROUNDS = 4
"""Every budget is timed so often; its best time counts."""
_ANSWER = 180
"""Tokens of a made-up conversation: what real answers have."""
_SUMS, _SUMS_OF_AN_ANSWER = 1e9, 5 * 12
"""Bytes that the sums of a batch's answers may take; bytes of an answer, per layer and width, with five masks: in
float32 on the device, in float64 on the host."""
_TOKENS_AT_ONCE = 512e6
"""Bytes of single tokens that a batch may hold on their way to the disk."""


@dataclass(frozen=True)
class Budget:
    """The choice and why."""

    tokens: int
    reason: str


def choose_budget(model: LanguageModel, blocks: Blocks, *, keeps_tokens: bool, n_layers: int) -> Budget:
    """The budget for this model on this machine.

    Args:
        model: the weights, where they will run.
        blocks: what will run them.
        keeps_tokens: single tokens are stored, which wait in memory for the disk.
        n_layers: layers that are read.
    """
    speeds = _speeds(model, blocks)
    best = max(*speeds.values(), 1e-9)
    fastest = min(tokens for tokens, speed in speeds.items() if speed >= _GOOD_ENOUGH * best)
    shown = ", ".join(f"{tokens}: {speed / best:.0%}" for tokens, speed in speeds.items())
    limits = {fastest: f"the smallest within 5% of the best speed measured here ({shown})", **_memory_limit(model)}
    answer = _SUMS_OF_AN_ANSWER * n_layers * model.width
    limits[max(_LEAST, int(_SUMS / answer) * _ANSWER)] = f"the sums of an answer take {answer / 1e6:.1f} MB"
    if keeps_tokens:
        each = n_layers * model.width * model.hf.dtype.itemsize
        limits[max(_LEAST, int(_TOKENS_AT_ONCE / each))] = f"single tokens of {each / 1e6:.2f} MB wait for the disk"
    tokens = min(limits)
    return Budget(tokens, limits[tokens])


def _memory_limit(model: LanguageModel) -> dict[int, str]:
    """What one pass may hold, where that is known and small."""
    config = model.text_config
    # The residual stream some four times, queries, keys, values and output, and the MLP's two inner activations.
    inner = getattr(config, "intermediate_size", None) or 4 * model.width
    experts = getattr(config, "num_experts_per_tok", None) or 1
    each = (12 * model.width + 3 * int(inner) * int(experts)) * max(2, model.hf.dtype.itemsize)
    if model.device.type == "cuda":
        # All of the card and not what is free now, which depends on what else runs.
        total = min(torch.cuda.get_device_properties(gpu).total_memory for gpu in _gpus(model))
        weights = sum(p.numel() * p.element_size() for p in model.hf.parameters()) / len(_gpus(model))
        room = max(0.0, total - weights) * _SHARE
    else:
        room = total_bytes() * 0.05
    return {max(_LEAST, int(room / each)): f"{room / 1e9:.1f} GB of memory for {each / 1e6:.2f} MB a token"}


def _gpus(model: LanguageModel) -> list[torch.device]:
    return sorted({p.device for p in model.hf.parameters() if p.device.type == "cuda"}, key=str)


def _speeds(model: LanguageModel, blocks: Blocks) -> dict[int, float]:
    """Tokens a second of the first block at every budget that is tried."""
    tried = _TRIED.get(model.device.type, _TRIED_ELSEWHERE)
    room = min(_memory_limit(model))
    allowed = (tried[0], *(tokens for tokens in tried[1:] if tokens <= room))

    def measure() -> dict[str, float]:
        speeds = dict.fromkeys(map(str, allowed), 0.0)
        # They take turns, so that a neighbour who is busy for a second does not decide.
        for _ in range(_ROUNDS):
            for tokens in allowed:
                speeds[str(tokens)] = max(speeds[str(tokens)], _speed(model, blocks, tokens))
        return speeds

    found = remembered(model, ["budget", blocks.name, *map(str, allowed)], measure)
    return {tokens: found[str(tokens)] for tokens in allowed if str(tokens) in found} or {allowed[0]: 1.0}


def _speed(model: LanguageModel, blocks: Blocks, tokens: int) -> float:
    length = min(_ANSWER, model.context_length or _ANSWER)
    random = np.random.default_rng(0)
    vocabulary = int(model.text_config.vocab_size)
    made_up = [
        Conversation(random.integers(0, vocabulary, length, dtype=np.int32), np.ones((1, length), bool))
        for _ in range(max(1, tokens // length))
    ]
    reader = PackedReader(model, tokens, blocks=blocks)
    reader.batches([made_up])
    began = time.perf_counter()
    try:
        reader.read(made_up, Wanted((0,)))
    except torch.OutOfMemoryError:
        return 0.0
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return len(made_up) * length / (time.perf_counter() - began)
