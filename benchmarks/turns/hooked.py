"""HookedTransformer of TransformerLens 2.18, which the seed uses, with its weights as they are.

It is built by hand, since the loader of 2.18 knows neither this model nor the rotary base of a local folder.
"""

from pathlib import Path
from typing import Any

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_llama_weights

from turns.weights import load_weights


def hooked(folder: Path, n_ctx: int) -> Any:
    """The model of ``folder``, for texts of at most ``n_ctx`` tokens."""
    source = load_weights(folder)
    known = source.config
    config: Any = HookedTransformerConfig.from_dict(
        {
            "d_model": known.hidden_size,
            "d_head": known.head_dim,
            "n_heads": known.num_attention_heads,
            "n_key_value_heads": known.num_key_value_heads,
            "d_mlp": known.intermediate_size,
            "n_layers": known.num_hidden_layers,
            "n_ctx": n_ctx,
            "eps": known.rms_norm_eps,
            "d_vocab": known.vocab_size,
            "act_fn": known.hidden_act,
            "normalization_type": "RMS",
            "positional_embedding_type": "rotary",
            "rotary_adjacent_pairs": False,
            "rotary_dim": known.head_dim,
            "rotary_base": int(known.rope_parameters["rope_theta"]),
            "final_rms": True,
            "gated_mlp": True,
            "original_architecture": "LlamaForCausalLM",
            "init_weights": False,
            "device": "cpu",
            "dtype": torch.float32,
        }
    )
    model: Any = HookedTransformer(config, move_to_device=False)
    model.load_and_process_state_dict(
        convert_llama_weights(source, config),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return model.eval()
