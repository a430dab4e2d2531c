"""Trials for the tests, made up in one line each."""

from collections.abc import Sequence
from typing import Any, Literal

from steer_llama.records import SplitName, Trial

Arm = Literal["unsteered", "steered", "random", "source", "prompted"]


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
