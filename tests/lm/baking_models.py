"""Tiny random models of the architectures that can be baked, saved as folders."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.weights import read_weights
from tests.lm.models import ARCHITECTURES

LAYERS, WIDTH = 3, 32
SHAPE = ARCHITECTURES["llama"]
_GPT = ARCHITECTURES["gpt2"]
_OPT = {
    **{"vocab_size": 64, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 3, "num_attention_heads": 4},
    **{"max_position_embeddings": 64, "word_embed_proj_dim": 16, "pad_token_id": 0},
}
_GPTJ = {**_GPT, "rotary_dim": 4}
_FALCON = {
    **{"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "bias": True},
    **{"ffn_hidden_size": 48, "max_position_embeddings": 64},
}

# What is saved: model_type, and settings besides its class's defaults.
BAKEABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SHAPE),
    "llama tied": ("llama", {**SHAPE, "tie_word_embeddings": True}),
    "llama with biases": ("llama", {**SHAPE, "mlp_bias": True, "attention_bias": True}),
    "llama 3.1": (
        "llama",
        {
            **SHAPE,
            "rope_parameters": {
                **{"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0},
                **{"high_freq_factor": 4.0, "original_max_position_embeddings": 16},
            },
        },
    ),
    "granite": ("granite", {**SHAPE, "residual_multiplier": 0.22, "logits_scaling": 4.0, "embedding_multiplier": 3.0}),
    "granite with biases": ("granite", {**SHAPE, "residual_multiplier": 0.22, "mlp_bias": True}),
    "smollm3": ("smollm3", {**SHAPE, "no_rope_layers": [1, 0, 1]}),
    "nemotron": ("nemotron", SHAPE),
    "mistral": ("mistral", {**SHAPE, "sliding_window": None, "head_dim": 16}),
    "mistral tied": ("mistral", {**SHAPE, "sliding_window": None, "tie_word_embeddings": True}),
    "qwen2": ("qwen2", SHAPE),
    "qwen2 tied": (
        "qwen2",
        {
            **{**SHAPE, "bos_token_id": None, "tie_word_embeddings": True, "rms_norm_eps": 1e-3},
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
    ),
    "gpt2": ("gpt2", _GPT),
    "gpt_neo": (
        "gpt_neo",
        {
            **{"vocab_size": 64, "hidden_size": 32, "num_layers": 3, "num_heads": 4, "max_position_embeddings": 64},
            **{"attention_types": [[["global", "local", "global"], 1]], "window_size": 4},
        },
    ),
    "gpt_bigcode": ("gpt_bigcode", _GPT),
    "gptj": ("gptj", _GPTJ),
    "codegen": ("codegen", _GPTJ),
    "gpt_neox": ("gpt_neox", {**SHAPE, "use_parallel_residual": True}),
    "gpt_neox in sequence": ("gpt_neox", {**SHAPE, "use_parallel_residual": False}),
    "bloom": ("bloom", {"vocab_size": 64, "hidden_size": 32, "n_layer": 3, "n_head": 4}),
    "falcon": ("falcon", {**_FALCON, "alibi": False}),
    "falcon in sequence": ("falcon", {**_FALCON, "alibi": True, "parallel_attn": False}),
    "phi": ("phi", SHAPE),
    "starcoder2": ("starcoder2", {**SHAPE, "sliding_window": 8}),
    "opt": ("opt", _OPT),
    "opt 350m": ("opt", {**_OPT, "do_layer_norm_before": False}),
}


def save_random(folder: Path, kind: str, dtype: torch.dtype = torch.float32, **how: Any) -> Path:
    """Save one; every tensor is random, the biases and norms too. ``how`` as ``save_pretrained`` takes it."""
    model_type, settings = BAKEABLE[kind]
    return save_model(folder, model_type, settings, dtype, **how)


def save_model(
    folder: Path, model_type: str, settings: dict[str, Any], dtype: torch.dtype = torch.float32, **how: Any
) -> Path:
    torch.manual_seed(0)
    hf = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **settings)).eval()
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.normal_(0, 0.3)
    hf.to(dtype).save_pretrained(folder, **how)
    return folder


def opened(folder: Path, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """Without a tokenizer."""
    hf = read_weights(folder, dtype=dtype).eval().requires_grad_(requires_grad=False)
    return LanguageModel(hf, None, folder.name, "", "")
