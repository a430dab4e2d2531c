"""In which type the residual stream is computed where the user leaves it open.

A GPU computes in the weights' own type. A CPU computes in float32, and in bfloat16 where it has instructions for that,
is measured to be faster with them, and the vectors are measured to be the same to two per cent.

Shapes: L layers, D width.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.machine_memory import available_bytes
from steer_llama.lm.reading.alone import read_alone
from steer_llama.lm.reading.conversation import Conversation, Pooled, Wanted
from steer_llama.lm.reading.packed import PackedReader
from steer_llama.lm.reading.remembered import remembered
from steer_llama.lm.reading.suitable import fastest_blocks, obstacle
from steer_llama.lm.tokens import AnswerTokens, encode_answer

_ALLOWED = 0.02
"""Relative error of the mean-difference vectors. 0.8% was measured on SmolLM2; the bootstrap's spread is far wider."""
_FASTER = 1.2
_ROWS = 512
_QUESTION = "What do you do on a rainy Sunday?"
_ANSWERS = (
    "Ooh, rainy Sundays are the best! 🌧️ Make a pot of tea, put on a silly hat and watch old films. What's yours? 😄",
    "On a rainy Sunday, there are several options:\n\n1. **Read a book** at home.\n2. **Clean** the apartment.",
)


def in_faster_type(model: LanguageModel) -> LanguageModel:
    """The model in bfloat16 where that is faster on its CPU and safe; else the model, with the reason."""
    if model.device.type != "cpu" or model.dtype != "float32" or getattr(model.hf, "is_quantized", False):
        return model
    if not has_bfloat16():
        return replace(model, dtype_reason="float32: this CPU has no instructions for bfloat16")
    size = sum(parameter.numel() for parameter in model.hf.parameters()) * 4
    if (free := available_bytes()) < 2 * size:
        return replace(model, dtype_reason=f"float32: {free / 1e9:.1f} GB are too few to hold bfloat16 weights too")
    small = replace(model, hf=copy.deepcopy(model.hf).to(torch.bfloat16))
    faster = remembered(model, ["bfloat16"], lambda: {"faster": _seconds(model) / _seconds(small)}).get("faster", 0.0)
    if faster < _FASTER:
        return replace(model, dtype_reason=f"float32: bfloat16 is {faster:.2f} times as fast on this CPU")
    error = vector_error(small, model)
    if not error <= _ALLOWED:  # NaN is no small error
        return replace(model, dtype_reason=f"float32: in bfloat16 a sample's vectors are {error:.1%} off")
    reason = f"{faster:.1f} times as fast as float32 here; a sample's vectors are {error:.2%} off"
    return replace(small, dtype_reason=f"{reason}; --dtype float32 is exact")


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware."""
    told = torch.cpu.get_capabilities()
    return any(told.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def vector_error(model: LanguageModel, exact: LanguageModel) -> float:
    """Relative error of a sample pair's difference vectors as they would be read, the largest of all layers."""
    wanted = Wanted(tuple(range(model.n_layers)))
    answers = [encode_answer(model.tokenizer, ({"role": "user", "content": _QUESTION},), text) for text in _ANSWERS]
    arms = [_conversation(answer) for answer in answers]
    expected_LD = _difference([read_alone(exact, arm, wanted) for arm in arms])
    if obstacle(model) is None:
        reader = PackedReader(model, _ROWS, blocks=fastest_blocks(model))
        reader.batches([arms])
        found_LD = _difference(reader.read(arms, wanted))
    else:
        found_LD = _difference([read_alone(model, arm, wanted) for arm in arms])
    error_L = np.linalg.norm(found_LD - expected_LD, axis=1) / np.linalg.norm(expected_LD, axis=1)
    return float(error_L.max())


def _difference(arms: Sequence[Pooled]) -> np.ndarray:
    difference_LD: np.ndarray = arms[0].mean_PLD[0] - arms[1].mean_PLD[0]
    return difference_LD


def _conversation(answer: AnswerTokens) -> Conversation:
    ids_T = np.array(answer.ids, np.int32)
    return Conversation(ids_T, (np.arange(len(ids_T)) >= answer.response_start)[None])


def _seconds(model: LanguageModel) -> float:
    """Time of the first block over 512 tokens; the better of three."""
    length = min(_ROWS, model.context_length or _ROWS)
    ids_BT = torch.arange(length)[None] % int(model.text_config.vocab_size)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        with torch.inference_mode(), reading(model, lambda _layer, _hidden: None, (0,)):
            run_blocks(model, ids_BT)
        times.append(time.perf_counter() - began)
    return min(times)
