"""Mistral and Qwen2 as Llama: the same computation under a name whose MLP may have biases.

Without a sliding window, transformers' three classes differ in which linear layers have a bias, and in nothing else
(modeling_mistral.py, modeling_qwen2.py and modeling_llama.py, compared line by line). vLLM and llama.cpp run Mistral
with Llama's code.
"""

from collections.abc import Mapping
from typing import Any

from transformers import LlamaConfig

from steer_llama.errors import ModelError
from steer_llama.lm.weights import LOADING_ERRORS

_ITS_OWN = ("model_type", "architectures", "transformers_version", "dtype", "torch_dtype")
_NOT_LLAMAS = ("use_sliding_window", "sliding_window", "max_window_layers", "layer_types", "auto_map")
_ABOUT_NOTHING = ("use_cache", "initializer_range", "pretraining_tp")
"""Llama's settings that change no logits."""


def as_llama(
    config: Mapping[str, Any], full: Any, where: str, instead: str
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """The configuration of the Llama that computes the same.

    Args:
        config: ``config.json`` of a Mistral or Qwen2.
        full: the same with transformers' defaults filled in.
        where: what the user calls the model.
        instead: what to do where it cannot be done.

    Returns:
        The new ``config.json``, the modules besides the MLP's that get a zero bias, and what to tell the user.

    Raises:
        ModelError: the model has a sliding window, or Llama's class refuses a setting.
    """
    windows = {full.sliding_window} if full.model_type == "mistral" else set(_windows(full))
    if window := next(iter(windows - {None}), None):
        raise ModelError(
            f"{where}: its attention has a sliding window of {window} tokens, which Llama's has not, so it cannot be "
            f"rewritten as a Llama (whose MLP takes a bias). {instead}"
        )
    qwen = full.model_type == "qwen2"
    kept = {key: value for key, value in config.items() if key not in _NOT_LLAMAS}
    kept |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "attention_bias": qwen, "mlp_bias": True}
    # Every other default of Llama's that is not this model's is written out.
    wanted = {key: getattr(full, key, None) for key in _settings()}
    wanted["head_dim"] = wanted["head_dim"] or full.hidden_size // full.num_attention_heads
    llama = _llama(kept, where)
    kept |= {key: value for key, value in wanted.items() if getattr(llama, key) != value}
    llama = _llama(kept, where)
    if lost := [key for key, value in wanted.items() if getattr(llama, key) != value]:
        raise ModelError(f"{where}: Llama's configuration cannot say its {', '.join(lost)}. {instead}")
    note = f"the {full.model_type} model is rewritten as a Llama, whose class computes the same and takes the bias"
    return kept, ("self_attn.o_proj",) if qwen else (), (note,)


def _windows(full: Any) -> list[int | None]:
    return [full.sliding_window if kind == "sliding_attention" else None for kind in full.layer_types]


def _settings() -> list[str]:
    told = LlamaConfig().to_dict()
    mine = {"attention_bias", "mlp_bias", *_ITS_OWN, *_ABOUT_NOTHING}
    return [key for key in told if key not in mine and not key.startswith("_")]


def _llama(values: Mapping[str, Any], where: str) -> Any:
    try:
        return LlamaConfig(**{key: value for key, value in values.items() if key != "model_type"})
    except LOADING_ERRORS as error:
        raise ModelError(f"{where}: cannot be written as a Llama: {' '.join(str(error).split())}") from error
