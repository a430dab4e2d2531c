"""Whether attention can be packed, and what then runs the blocks: by what the configuration says, and by trying."""

from collections.abc import Callable
from typing import Any

import numpy as np

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import Blocks, FusedBlocks, ModelCode, not_fusable
from steer_llama.lm.reading.alone import read_alone
from steer_llama.lm.reading.conversation import Conversation, Wanted
from steer_llama.lm.reading.packed import PackedReader

_KINDS = {"full_attention", "sliding_attention"}
_WINDOWS = {"gemma2", "gemma3", "gemma3_text", "mistral", "mixtral", "phi3", "qwen2", "qwen3"}
"""Model types whose sliding windows are tested: a trial is too short to meet one."""
_LENGTH_BOUND = ("longrope", "dynamic")
"""Rotary embeddings that transformers scales by the highest position of a whole pass."""
_TOLERANCE = {"float32": 1e-3, "float64": 1e-6}
_ROUNDED = 0.1
"""Of a trial in half precision or with quantised weights, where a token at the edge may go to another expert; a wrong
mask is off by more."""


def obstacle(model: LanguageModel) -> str | None:
    """Why the model cannot be read in packed batches; ``None`` if it can.

    The configuration is looked at, and two short made-up conversations are read both ways.
    """
    return _by_configuration(model) or _by_trial(model, lambda: ModelCode(model))


def fastest_blocks(model: LanguageModel) -> Blocks:
    """What runs the blocks of a model that has no `obstacle`: fused ones where they fit and a trial confirms them."""
    if reason := not_fusable(model):
        return ModelCode(model, f"not fused: {reason}")
    made: list[Blocks] = []

    def fused() -> Blocks:
        made.append(FusedBlocks(model))
        return made[0]

    reason = _by_trial(model, fused)
    return ModelCode(model, f"not fused: {reason}") if reason else made[0]


def _by_configuration(model: LanguageModel) -> str | None:
    config, name = model.text_config, type(model.hf).__name__
    if not (getattr(model.hf, "_supports_attention_backend", False) and model.hf._can_set_attn_implementation()):
        return f"{name} does not take another attention function"
    if getattr(model.hf, "_is_stateful", False):
        return f"{name} carries a state from token to token"
    if others := sorted(set(getattr(config, "layer_types", None) or []) - _KINDS):
        return f"{name} has layers of another kind than causal attention ({', '.join(others)})"
    if any(kind in str(getattr(config, "rope_parameters", None)) for kind in _LENGTH_BOUND):
        return f"{name}'s rotary embedding depends on how long the longest conversation of a pass is"
    if getattr(config, "sliding_window", None) and config.model_type not in _WINDOWS:
        return f"{name} has a sliding window, and its kind ({config.model_type}) has not been tested"
    return None


def _by_trial(model: LanguageModel, make: Callable[[], Blocks]) -> str | None:
    first, second = _made_up(model, 24), _made_up(model, 30)
    wanted = Wanted(tuple(range(model.n_layers)))
    try:
        # Batches that are too small on purpose: what is kept from one pass to the next is tried too.
        reader = PackedReader(model, 20, blocks=make())
        reader.batches([(first, second)])
        packed = reader.read([first, second], wanted)
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
        return f"{type(model.hf).__name__} failed on a trial: {' '.join(str(error).split())[:200]}"
    errors = []
    for conversation, found in zip((first, second), packed, strict=True):
        expected = read_alone(model, conversation, wanted)
        scale_L = np.abs(expected.mean_PLD).max(axis=(0, 2))
        errors.append(np.abs(found.mean_PLD - expected.mean_PLD).max(axis=(0, 2)) / scale_L)
    worst = float(np.max(errors))  # NaN if any is
    exact = not getattr(model.hf, "is_quantized", False)
    allowed = _TOLERANCE.get(model.dtype, _ROUNDED) if exact else _ROUNDED
    return None if worst <= allowed else f"a trial was {worst:.0e} off (allowed: {allowed:.0e})"


def _made_up(model: LanguageModel, length: int) -> Conversation:
    """Tokens that begin alike and then differ, with a mask over the second half."""
    vocabulary: Any = model.text_config.vocab_size
    ids_T = np.random.default_rng(0).integers(0, vocabulary, length, dtype=np.int32)
    ids_T[12:] = np.random.default_rng(length).integers(0, vocabulary, length - 12)
    return Conversation(ids_T, (np.arange(length) >= 14)[None])
