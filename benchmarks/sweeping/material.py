"""What a sweep is made of: the vector of a finished run, the dev questions, and the target's prompt for each.

Shapes: C conditions, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from generation.work import Asked, Floats

from steer_llama.chat import build_messages
from steer_llama.elicitations import read_elicitation, with_split
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import encode_prompt
from steer_llama.records import Split
from steer_llama.rundir import ELICITATION, VECTOR
from steer_llama.vectors import SteeringVector, read_vector
from sweeping import LAYERS, STRENGTHS

GRID = tuple((layer, strength) for layer in LAYERS for strength in STRENGTHS)
"""All conditions."""


@dataclass(frozen=True)
class Material:
    """Of one trait."""

    trait: str
    folder: Path
    vector: SteeringVector
    split: Split

    @classmethod
    def of(cls, trait: str, folder: Path) -> "Material":
        """From a finished run."""
        split = with_split(read_elicitation(folder / ELICITATION)).split
        assert split is not None, "with_split gives a split"
        return cls(trait, folder, read_vector(folder / VECTOR), split)

    def vectors_CD(self, conditions: Sequence[tuple[int, float]]) -> Floats:
        """What is added under each condition."""
        return np.stack([self.vector.scaled_D(*condition) for condition in conditions]).astype(np.float32)

    def asked(self, model: LanguageModel, conditions: Sequence[tuple[int, float]]) -> list[Asked]:
        """All dev questions under each condition, in the grid's order; `Asked.vector` is the condition's place."""
        prompts = [
            tuple(encode_prompt(model.tokenizer, build_messages(None, (), question))) for question in self.split.dev
        ]
        return [Asked(ids, layer, place) for place, (layer, _) in enumerate(conditions) for ids in prompts]


def spread(count: int) -> list[tuple[int, float]]:
    """``count`` conditions of the grid, spread over it."""
    return [GRID[round(place)] for place in np.linspace(0, len(GRID) - 1, min(count, len(GRID)))]
