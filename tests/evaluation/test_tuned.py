"""The confirmation of a tuned combination, and the sentence that it comes to."""

from typing import Any

import numpy as np
import pytest

from steer_llama.evaluation.fidelity import distance
from steer_llama.evaluation.profiles import profile_scale
from steer_llama.evaluation.tuned import Answers, confirm, sentence
from steer_llama.records import Trial
from steer_llama.records.tuned import Margin, TunedArm
from tests.evaluation.trials import trial

QUESTIONS = 14


def answers(arm: Any, emoji: float, *, questions: int = QUESTIONS, seed: int = 0) -> list[Trial]:
    """Answers with about so many emoji per 100 words."""
    random = np.random.default_rng(seed)
    return [
        trial(
            "source" if arm == "source" else "steered",
            question=f"q{number}",
            split="test",
            tokens=20,
            nll=20.0,
            text="word " * round(emoji),
            features={"words": 20.0, "emoji": emoji + random.normal(), "sentence_words": 8.0 + random.normal()},
        )
        for number in range(questions)
    ]


def confirmed(
    tuned: float = 6,
    recommended: float = 12,
    questions: int = QUESTIONS,
    *,
    same: bool = False,
    null: float | None = None,
) -> tuple[tuple[TunedArm, ...], tuple[Margin, ...]]:
    source, plain = answers("source", 6, questions=questions), answers("plain", 0, questions=questions, seed=1)
    best = answers("tuned", tuned, questions=questions, seed=2)
    arms = [
        Answers("unsteered", "unsteered", {}, plain),
        Answers("tuned", "tuned together", {"a": 0.1}, best),
        Answers(
            "recommended",
            "added as recommended",
            {"a": 0.1} if same else {"a": 0.2},
            best if same else answers("sum", recommended, questions=questions, seed=3),
        ),
    ]
    if null is not None:
        arms.append(Answers("null", "random 1", {"a": 0.3}, answers("null", null, questions=questions, seed=4)))
    metrics = {"a": lambda text: float(len(text.split())) or None}
    return confirm(arms, source, profile_scale(source, plain), metrics, resamples=300, seed=0)


def test_every_arm_is_measured() -> None:
    arms, margins = confirmed(null=0)
    source, plain = answers("source", 6), answers("plain", 0, seed=1)
    scale = profile_scale(source, plain)
    by_arm = {arm.arm: arm for arm in arms}
    assert by_arm["tuned"].fidelity.distance.mean == pytest.approx(distance(answers("t", 6, seed=2), source, scale))
    assert by_arm["unsteered"].fidelity.closed.mean == pytest.approx(0)
    assert by_arm["tuned"].fidelity.closed.mean > 0.9
    assert by_arm["recommended"].traits["a"].mean == pytest.approx(12)
    assert by_arm["unsteered"].traits["a"].n == 0, "empty answers are unscored, not 0"
    assert [margin.over for margin in margins] == ["unsteered", "added as recommended", "random 1"]
    others = [arm for arm in arms if arm.arm != "tuned"]
    for margin, arm in zip(margins, others, strict=True):
        gap = by_arm["tuned"].fidelity.distance.mean - arm.fidelity.distance.mean
        assert margin.distance.mean == pytest.approx(gap)
        assert margin.distance.low < margin.distance.mean < margin.distance.high


def said(found: tuple[tuple[TunedArm, ...], tuple[Margin, ...]], min_coherence: float = 0) -> str:
    return sentence(*found, min_coherence)


def test_better_than_the_sum_is_said_with_its_interval() -> None:
    text = said(confirmed(tuned=6, recommended=12))
    assert "Tuning beats the plain sum" in text
    assert "is nearer to the source's style than the unsteered target" in text
    assert "95% interval −" in text.replace("-", "−")


def test_no_better_or_worse_is_said_as_plainly() -> None:
    assert "not told apart from the plain sum" in said(confirmed(tuned=6, recommended=6))
    assert "worse than the plain sum" in said(confirmed(tuned=12, recommended=6))
    assert "are those of the plain sum" in said(confirmed(same=True))
    assert "is farther from the source's style than the unsteered" in said(confirmed(tuned=60, recommended=6))


def test_a_handful_of_questions_decides_nothing() -> None:
    text = said(confirmed(tuned=6, recommended=12, questions=5))
    assert "cannot be told from 5 questions" in text
    assert "not told apart from the unsteered" in text


def test_chance_and_coherence_are_named() -> None:
    assert "than 1 of 1 combinations of random directions" in said(confirmed(null=0))
    assert "than 0 of 1 combinations of random directions" in said(confirmed(null=6))
    assert "below the minimum of 101" in said(confirmed(), min_coherence=101)


def test_no_vector_is_no_victory() -> None:
    arms, margins = confirmed()
    none = tuple(arm.model_copy(update={"strengths": {}}) if arm.arm == "tuned" else arm for arm in arms)
    assert "no vector is used" in sentence(none, margins, 0)
