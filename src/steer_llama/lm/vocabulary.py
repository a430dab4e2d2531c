"""From what the final norm gives to logits.

Shapes: S tokens, D width, V vocabulary.
"""

import torch
from torch import Tensor

from steer_llama.lm.load import LanguageModel


def to_logits(model: LanguageModel, hidden_SD: Tensor) -> Tensor:
    """Logits (S, V), in float32 or better, of what the final norm gave, with what some architectures do after it."""
    return scaled_logits(model, model.hf.get_output_embeddings()(hidden_SD))


def scaled_logits(model: LanguageModel, projected_SV: Tensor) -> Tensor:
    """What some architectures do after the projection onto the vocabulary (S, V); float32 or better."""
    logits = projected_SV.to(torch.promote_types(projected_SV.dtype, torch.float32))
    config = model.text_config
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return logits
