"""What is read and asked to find side effects: the packaged sets, whole or a part of each."""

from typing import Any

from steer_llama.files import read_json
from steer_llama.packaged import side_effects_path
from steer_llama.records import EffectItems

_SETS = ("texts", "prompts", "facts", "harmful", "harmless", "conversations")

QUICK = {"texts": 6, "prompts": 8, "facts": 16, "harmful": 8, "harmless": 8, "conversations": 2}
"""How many of each are the quick set."""
QUICK_TURNS = 3
"""Turns of a conversation in the quick set."""
QUICK_TOKENS = {"continuation_tokens": 12, "fact_tokens": 16, "refusal_tokens": 24, "turn_tokens": 32}


def effect_items(*, quick: bool = False) -> EffectItems:
    """The packaged sets; the quick ones are the first of each, with shorter answers.

    On the embedded model the whole takes 150 seconds of one core, the quick ones 45; two cores need about half of that.
    Two conversations of three turns show what the answers look like and are no measure of drift.
    """
    sets: dict[str, Any] = {
        name: read_json(side_effects_path(name), "what to find side effects with") for name in _SETS
    }
    if not quick:
        return EffectItems.model_validate(sets)
    first = {name: values[: QUICK[name]] for name, values in sets.items()}
    first["conversations"] = [turns[:QUICK_TURNS] for turns in first["conversations"]]
    return EffectItems.model_validate({**first, **QUICK_TOKENS})
