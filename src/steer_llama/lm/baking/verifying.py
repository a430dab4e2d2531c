"""Whether a baked folder does what the vector does: its logits beside those of the source with a hook.

Shapes: T tokens, V vocabulary.
"""

import gc
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from steer_llama.config import ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel, load_fresh
from steer_llama.lm.steering import Steering, steering
from steer_llama.lm.weights import LOADING_ERRORS
from steer_llama.progress import Reporter

_MAX_TOKENS = 64
_PIECES = ("Hello, how are you? 😀🎉", "  two  spaces\n\n\tand a tab", "naïve 12345 你好 <|im_end|> [INST] </s>")


@dataclass(frozen=True)
class Compared:
    """Logits over a few prompts, all positions."""

    max_difference: float
    """Between the baked folder and the source with a hook."""
    effect: float
    """Between the source with and without the hook: what the difference is to be judged by."""
    prompts: int
    dtype: str
    """What was computed in."""

    @property
    def allowed(self) -> float:
        """The largest difference that rounding explains."""
        return max(1e-3, self.effect * (0.05 if self.dtype == "float32" else 0.3))

    def __str__(self) -> str:
        """For people."""
        return (
            f"max |Δlogit| {self.max_difference:.2g} between the baked folder and a hook on the original, over "
            f"{self.prompts} prompts in {self.dtype} (the vector itself moves logits by up to {self.effect:.3g})"
        )


def compare(
    settings: ModelSettings,
    baked: Path,
    added_by_layer: Mapping[int, Tensor],
    prompts: Sequence[str],
    reporter: Reporter,
) -> Compared:
    """Run both, one after the other.

    Args:
        settings: the source model's.
        baked: the folder.
        added_by_layer: what it is to add (width), by block.
        prompts: plain texts; their first 64 tokens are used.
        reporter: shows the progress.

    Raises:
        ModelError: one cannot be loaded, or the baked folder does something else than the vector.
    """
    with reporter.task("comparing logits with the original's", 2, "models") as advance:
        source = load_fresh(settings, reporter)
        check_layers(sorted(added_by_layer), source.n_layers, source.name)
        ids = [_ids(source, prompt) for prompt in prompts]
        plain = [_logits_TV(source, row) for row in ids]
        with ExitStack() as hooks:
            for layer, vector_D in added_by_layer.items():
                hooks.enter_context(steering(source, [Steering(layer, vector_D)]))
            hooked = [_logits_TV(source, row) for row in ids]
        dtype = source.dtype
        del source
        gc.collect()
        advance(1)
        found_model = load_fresh(settings.model_copy(update={"path": str(baked)}), reporter)
        found = [_logits_TV(found_model, row) for row in ids]
        advance(1)
    compared = Compared(_largest(found, hooked), _largest(plain, hooked), len(prompts), dtype)
    if not compared.max_difference <= compared.allowed:
        raise ModelError(
            f"the baked folder does not do what the vector does: {compared}; at most {compared.allowed:.2g} was "
            "expected. Nothing was kept. Please report this, with the model's name."
        )
    return compared


def check_tokenizers(source: Path, baked: Path) -> None:
    """Refuse a folder whose tokenizer another ``model_type`` makes a different one.

    Raises:
        ModelError: they differ, or one cannot be read.
    """
    if not any((source / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return
    try:
        before, after = (_told(AutoTokenizer.from_pretrained(folder)) for folder in (source, baked))
    except LOADING_ERRORS as error:
        raise ModelError(f"{source}: its tokenizer cannot be loaded: {' '.join(str(error).split())}") from error
    if before != after:
        raise ModelError(
            f"{source}: under a Llama's configuration, transformers makes another tokenizer of its files. Save the "
            "tokenizer with save_pretrained, so that its files say all of it, and bake again."
        )


def _told(tokenizer: Any) -> tuple[Any, ...]:
    ids = tuple(tuple(tokenizer(piece)["input_ids"]) for piece in _PIECES)
    return len(tokenizer), tokenizer.chat_template, str(tokenizer.special_tokens_map), ids


def _ids(model: LanguageModel, prompt: str) -> list[int]:
    ids: list[int] = model.tokenizer(prompt)["input_ids"][:_MAX_TOKENS]
    return ids


def _logits_TV(model: LanguageModel, ids: list[int]) -> Tensor:
    row = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        logits_BTV: Tensor = model.hf(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False).logits
    return logits_BTV[0].float().cpu()


def _largest(mine: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(mine, others, strict=True))
