"""Computing a prompt's common beginning once for a whole batch.

A source that is shown by a system prompt and example turns has hundreds of tokens before a question of ten.

Shapes: B batch, T tokens, P tokens of the prefix.
"""

from collections.abc import Sequence

import torch
from transformers import Cache, DynamicCache

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import divergence_index

MIN_TOKENS = 16
"""A shorter prefix is not worth a forward pass of its own."""


def shared_prefix(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens of ``prompts`` can be computed once: 0 where that would not help or is not exact.

    At least one token of every prompt is left, for its logits begin the answer. Only models in which every layer
    attends to everything keep their prefix in a form that can be handed to other rows.
    """
    if len(prompts) < 2:
        return 0
    kinds = getattr(model.text_config, "layer_types", None) or []
    if any(kind != "full_attention" for kind in kinds) or getattr(model.text_config, "sliding_window", None):
        return 0
    # The first and the last in order are the two that differ soonest.
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    common = divergence_index(first, last)
    common = min(common, min(map(len, prompts)) - 1)
    return common if common >= MIN_TOKENS else 0


def prefix_cache(model: LanguageModel, prefix: Sequence[int], rows: int) -> Cache:
    """Keys and values of ``prefix`` for every row of a batch. Must be made, and used, without steering."""
    ids_1P = torch.tensor([list(prefix)], device=model.device)
    cache = DynamicCache(config=model.hf.config)
    model.decoder(input_ids=ids_1P, attention_mask=torch.ones_like(ids_1P), past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(rows)
    return cache
