"""Trials for the tests, made up in one line each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from steer_llama.records import Arm, SplitName, Trial


def trial(
    arm: Arm = "unsteered",
    score: float | None = 0.0,
    *,
    question: str = "q0",
    split: SplitName = "dev",
    nats: float = 1.0,
    distinct_2: float | None = 0.9,
    **more: Any,
) -> Trial:
    """One answer of ten tokens; ``nats`` are per token, and a score above 0 counts as one occurrence."""
    values: dict[str, Any] = {
        "text": "some words of an answer",
        "tokens": 10,
        "nll": 10 * nats,
        "trait_count": None if score is None else int(score > 0),
    } | more
    return Trial(
        key=f"{split}-{arm}-{question}-{more}",
        split=split,
        arm=arm,
        question=question,
        finish_reason="stop",
        trait_score=score,
        distinct_2=distinct_2,
        **values,
    )


def trials(arm: Arm, scores: Sequence[float | None], **more: Any) -> list[Trial]:
    """One answer a question, with these scores."""
    return [trial(arm, score, question=f"q{number}", **more) for number, score in enumerate(scores)]


def styled(arm: Arm, questions: int, emoji: float, *, luck: int = 0, **more: Any) -> list[Trial]:
    """One answer a question, of 100 words in 100 tokens with about that many emoji; the trait score counts them."""
    random, nats = np.random.default_rng(luck), more.pop("nats", 1.0)
    found = []
    for number in range(questions):
        count = int(random.poisson(emoji))
        features = {
            "words": 100.0,
            "emoji": float(count),
            "punctuation": float(random.gamma(16, 1)),
            "sentence_words": float(random.gamma(16, 1)),
        }
        values: dict[str, Any] = {"tokens": 100, "nll": 100 * nats} | more
        found.append(trial(arm, float(min(100, 10 * count)), question=f"q{number}", features=features, **values))
    return found
