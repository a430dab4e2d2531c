"""A made-up sweep with a known surface: each trait's marks rise with strength, overshoot, and then the text breaks.

The noise is like that of real answers of 64 tokens: counts that vary more than Poisson's between answers (emoji of
forty real answers have a standard deviation as large as their mean), and questions that all conditions have in common.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from steer_llama.evaluation import Wanted
from steer_llama.records import Arm, Trial
from tests.evaluation.trials import trial

LAYERS = tuple(range(6, 26, 2))
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.7)
TOKENS, WORDS = 64, 48


@dataclass(frozen=True)
class Surface:
    """What a trait is made of: marks per 100 words of the unsteered target and of the source, and where it works."""

    plain: dict[str, float]
    source: dict[str, float]
    scored: tuple[str, ...]
    """The features that the trait score counts."""
    wanted: Wanted
    best_layer: float
    half: float
    """Strength at the best layer that moves half of the way to the source."""


TRAITS = {
    "emoji": Surface({"emoji": 0.3}, {"emoji": 4.0, "exclamations": 2.0}, ("emoji",), "more", 14, 0.08),
    "formatting": Surface(
        {"bullets": 4.5, "bold": 3.6, "punctuation": 22.0},
        {"bullets": 1.0, "bold": 0.3, "punctuation": 17.0},
        ("bullets", "bold"),
        "less",
        19,
        0.12,
    ),
    "playful": Surface(
        {"exclamations": 1.0, "questions": 0.5},
        {"emoji": 2.0, "exclamations": 4.0, "questions": 2.0},
        ("emoji", "exclamations"),
        "more",
        11,
        0.15,
    ),
}


def swept(name: str, seed: int, questions: int = 12) -> list[Trial]:
    """Unsteered, source and every layer × strength on that many dev questions."""
    surface, random = TRAITS[name], np.random.default_rng([seed, len(name)])
    moods = random.gamma(4, 1 / 4, size=questions)
    found: list[Trial] = []
    for number in range(questions):
        mood = float(moods[number])
        found.append(_answer(surface, "unsteered", number, mood, 0.0, 0.0, random))
        found.append(_answer(surface, "source", number, mood, 1.0, 0.0, random))
    for layer in LAYERS:
        for strength in STRENGTHS:
            reach = math.exp(-(((layer - surface.best_layer) / 6) ** 2))
            moved = 2 * (1 - 2 ** (-reach * strength / surface.half / 2)) * reach
            broken = 1 / (1 + math.exp(-(strength * (1 + (25 - layer) / 40) - 0.5) / 0.06))
            for number in range(questions):
                place: dict[str, Any] = {"layer": layer, "strength": strength}
                found.append(_answer(surface, "steered", number, float(moods[number]), moved, broken, random, **place))
    return found


def _answer(
    surface: Surface,
    arm: Arm,
    number: int,
    mood: float,
    moved: float,
    broken: float,
    random: np.random.Generator,
    **place: Any,
) -> Trial:
    words = max(1.0, WORDS * (1 - 0.7 * broken) * random.gamma(60, 1 / 60))
    counts = {}
    for feature in ("emoji", "bullets", "bold", "punctuation", "exclamations", "questions"):
        plain = surface.plain.get(feature, 18.0 if feature == "punctuation" else 0.2)
        rate = max(0.0, plain + moved * (surface.source.get(feature, plain) - plain)) * (1 + 3 * broken)
        spread = mood if feature in surface.scored else 1.0
        shape = 12.0 if feature == "punctuation" else 2.0
        counts[feature] = float(random.poisson(rate * spread * random.gamma(shape, 1 / shape) * words / 100))
    features = {feature: 100 * count / words for feature, count in counts.items()}
    features |= {"words": words, "sentence_words": float(random.gamma(14, 1) * (1 + broken))}
    score = min(100.0, 100 * sum(features[feature] for feature in surface.scored) / 5)
    nats = 1.3 + 0.1 * moved + 3 * broken + 0.15 * float(random.normal())
    return trial(
        arm,
        score,
        question=f"q{number}",
        features=features,
        tokens=TOKENS,
        nll=TOKENS * nats,
        distinct_2=float(np.clip(0.95 - 0.5 * broken + 0.03 * random.normal(), 0, 1)),
        **place,
    )
