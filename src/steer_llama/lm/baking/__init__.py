"""Baked models: plain Hugging Face folders whose block L always adds a vector to the residual stream at its output."""

from steer_llama.lm.baking.checkpoint import Checkpoint, open_checkpoint
from steer_llama.lm.baking.families import Place, place_of
from steer_llama.lm.baking.planning import Baking, plan_baking
from steer_llama.lm.baking.source import Source, find_source
from steer_llama.lm.baking.verifying import Compared, check_tokenizers, compare
from steer_llama.lm.baking.writing import bake_checkpoint, write_baking

__all__ = [
    "Baking",
    "Checkpoint",
    "Compared",
    "Place",
    "Source",
    "bake_checkpoint",
    "check_tokenizers",
    "compare",
    "find_source",
    "open_checkpoint",
    "place_of",
    "plan_baking",
    "write_baking",
]
