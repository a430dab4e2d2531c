"""From packaged questions to `Work`: prompts, directions and strengths are the same for everybody.

Shapes: T tokens, D width.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers.utils import logging

from generation.work import Asked, Work
from steer_llama.chat import build_messages
from steer_llama.config import ModelSettings
from steer_llama.elicitations import read_elicitation
from steer_llama.lm.embedded import NAME, embedded_folder
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.tokens import encode_prompt
from steer_llama.packaged import packaged_traits
from steer_llama.progress import SilentReporter

Workload = Literal["fixed", "answers"]

LAYER, STRENGTH = 15, 0.2
_MIXED_LAYERS, _MIXED_STRENGTHS = range(1, 29), (0.05, 0.1, 0.2, 0.3)
_NEVER_WRITTEN = "<file_sep>"
"""A token of the vocabulary for other texts than chats."""


def gather(rows: int, batch_size: int, max_tokens: int, workload: Workload, scratch: Path) -> Work:
    """``rows`` questions, to be answered plainly, all steered alike, and every row in another way.

    The directions are random: what is measured does not depend on where they point.
    """
    model = load_embedded()
    prompts = [_prompt(model, question, workload) for question in _questions(rows)]
    random = np.random.default_rng(0)
    norms = _residual_norms(model, prompts[0])

    def added_D(layer: int, strength: float) -> Any:
        direction_D = random.standard_normal(model.width)
        return direction_D / np.linalg.norm(direction_D) * norms[layer] * strength

    mixed = [
        (_MIXED_LAYERS[row % len(_MIXED_LAYERS)], _MIXED_STRENGTHS[row % len(_MIXED_STRENGTHS)]) for row in range(rows)
    ]
    vectors_VD = np.stack([added_D(LAYER, STRENGTH), *(added_D(*each) for each in mixed)]).astype(np.float32)
    np.save(scratch / "vectors.npy", vectors_VD)
    folder = embedded_folder(SilentReporter())
    return Work(
        folder=without_stops(folder, scratch / "model") if workload == "fixed" else folder,
        vectors=scratch / "vectors.npy",
        batch_size=batch_size,
        max_tokens=max_tokens,
        sets={
            "plain": tuple(Asked(ids) for ids in prompts),
            "steered": tuple(Asked(ids, LAYER, 0) for ids in prompts),
            "mixed": tuple(Asked(ids, mixed[row][0], row + 1) for row, ids in enumerate(prompts)),
        },
    )


def load_embedded() -> LanguageModel:
    """The embedded model in float32."""
    logging.disable_progress_bar()
    return load_model(ModelSettings(path=NAME, device="cpu", dtype="float32"), SilentReporter())


def without_stops(folder: Path, copy: Path) -> Path:
    """The model with a stop token that it does not write, so that everybody's answers are of full length.

    The weights are linked to, not copied.
    """
    copy.mkdir()
    ended: dict[str, dict[str, Any]] = {}
    for file in folder.iterdir():
        if file.name not in ("config.json", "generation_config.json", "tokenizer_config.json", "steer-llama.json"):
            (copy / file.name).symlink_to(file)
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    stop = next(token["id"] for token in vocabulary if token["content"] == _NEVER_WRITTEN)
    ended["config.json"] = ended["generation_config.json"] = {"eos_token_id": stop, "pad_token_id": stop}
    ended["tokenizer_config.json"] = {"eos_token": _NEVER_WRITTEN, "pad_token": _NEVER_WRITTEN}
    for name, changes in ended.items():
        values = json.loads((folder / name).read_text(encoding="utf-8")) | changes
        (copy / name).write_text(json.dumps(values), encoding="utf-8")
    return copy


def _questions(count: int) -> list[str]:
    """Packaged ones, the traits in turn."""
    by_trait = [read_elicitation(trait).questions for trait in packaged_traits()]
    questions = list(dict.fromkeys(question for turn in zip(*by_trait, strict=False) for question in turn))
    if count > len(questions):
        raise SystemExit(f"--rows {count}: there are {len(questions)} packaged questions")
    return questions[:count]


def _prompt(model: LanguageModel, question: str, workload: Workload) -> tuple[int, ...]:
    """A question; where speed alone is measured, with nothing in front that all prompts have in common.

    We compute an unsteered common beginning once and a steered one for each row, which would count as steering's cost.
    """
    system_prompt = f"{question} Answer kindly." if workload == "fixed" else None
    return tuple(encode_prompt(model.tokenizer, build_messages(system_prompt, (), question)))


def _residual_norms(model: LanguageModel, prompt: tuple[int, ...]) -> list[float]:
    """Mean norm at the output of every block; without the first token, whose norm is of another order."""
    norms: list[float] = []
    handles = [
        block.register_forward_hook(lambda _block, _inputs, out: norms.append(float(out[0, 1:].norm(dim=-1).mean())))
        for block in model.blocks
    ]
    with torch.inference_mode():
        model.hf(torch.tensor([prompt]))
    for handle in handles:
        handle.remove()
    return norms
