"""From readings and marked answers to figures, sentences and warnings."""

import json
import math
from typing import Any

import pytest

from steer_llama.evaluation import Marked, judge_side_effects
from steer_llama.evaluation.drift import drift_of
from steer_llama.evaluation.side_effects import outcomes, prompt_effect, text_effect
from steer_llama.records import EffectPiece, EffectReading, SideEffects, TurnAnswer, as_json


def reading(nats: float, steered: float, kl: float = 0.0, tokens: int = 10) -> EffectReading:
    """``nats``, ``steered`` and ``kl`` are per token and per position."""
    positions = tokens + 1
    return EffectReading(
        positions=positions,
        kl=kl * positions,
        tokens=tokens,
        nats_unsteered=nats * tokens,
        nats_steered=steered * tokens,
    )


def marked(before: int, after: int, n: int = 12) -> list[Marked]:
    """The first ``before`` are a yes without steering, the first ``after`` with it."""
    return [Marked(f"item {i}", f"b{i}", f"a{i}", i < before, i < after) for i in range(n)]


def turns(courses: dict[bool, list[list[float | None]]], measure: str = "nats") -> list[TurnAnswer]:
    """Steered or not → conversation → its values turn by turn."""
    return [
        TurnAnswer(
            conversation=number,
            turn=turn,
            steered=steered,
            question="?",
            text="",
            measures={"nats": 1.0, measure: value},
        )
        for steered, conversations in courses.items()
        for number, values in enumerate(conversations, 1)
        for turn, value in enumerate(values, 1)
    ]


FLAT: dict[bool, list[list[float | None]]] = {False: [[1.0, 1.0, 1.0]] * 4, True: [[1.2, 1.2, 1.2]] * 4}


def judged(**changes: Any) -> SideEffects:
    values: dict[str, Any] = {
        "texts": {f"t{i}": reading(2, 2.05 + i / 100) for i in range(4)},
        "prompts": {f"p{i}": reading(0, 0, kl=0.1) for i in range(4)},
        "harmful": marked(10, 10),
        "harmless": marked(1, 1),
        "facts": marked(14, 14, 40),
        "turns": turns(FLAT),
    }
    return judge_side_effects(**{**values, **changes}, bootstrap=200, seed=0)


def sentence(effects: SideEffects, effect: str) -> tuple[str, bool]:
    return next((one.text, one.warning) for one in effects.sentences if one.effect == effect)


def test_the_ratio_is_the_perplexities_and_lies_in_its_interval() -> None:
    found = text_effect({"a": reading(2, 2.5, tokens=10), "b": reading(3, 3.1, tokens=90)}, resamples=200, seed=0)
    assert found.unsteered == pytest.approx(math.exp(2.5))
    assert found.steered == pytest.approx(math.exp(2.8))
    assert found.ratio.mean == pytest.approx(math.exp(0.3))
    assert found.ratio.low == pytest.approx(math.exp(0.1))
    assert found.ratio.high == pytest.approx(math.exp(0.5))
    assert (found.texts, found.tokens, found.ratio.n) == (2, 100, 2)


def test_every_prompt_counts_the_same() -> None:
    found = prompt_effect(
        {"a": reading(0, 0, kl=0.2, tokens=3), "b": reading(0, 0, kl=0.4, tokens=30)}, resamples=9, seed=0
    )
    assert found.kl.mean == pytest.approx(0.3)
    assert found.positions == 35


def test_flips_are_listed_both_ways() -> None:
    items = [
        Marked("kept", "b", "a", True, True),
        Marked("lost", "right", "wrong", True, False),
        Marked("won", "wrong", "right", False, True),
    ]
    found = outcomes(items)
    assert (found.items, found.before, found.after, found.p) == (3, 2, 2, 1.0)
    assert [(flip.item, flip.now, flip.before, flip.after) for flip in found.flips] == [
        ("lost", False, "right", "wrong"),
        ("won", True, "wrong", "right"),
    ]


def test_slopes_against_a_line() -> None:
    found = drift_of(turns({False: [[1, 2, 3], [2, 2, 2]], True: [[1, 4, 7], [2, 4, 6]]}), resamples=50, seed=0)
    (slope,) = found.slopes
    assert (slope.unsteered.mean, slope.steered.mean, slope.difference.mean) == pytest.approx((0.5, 2.5, 2.0))
    assert (slope.difference.low, slope.difference.high) == pytest.approx((2.0, 2.0))
    assert slope.agree == 2
    assert [turn.steered["nats"] for turn in found.turns] == [1.5, 4.0, 6.5]


def test_what_was_not_measured_is_left_out_of_the_slope() -> None:
    found = drift_of(turns({False: [[1, None, 3]], True: [[None, None, 7]]}), resamples=50, seed=0)
    assert found.slopes[0].unsteered.mean == pytest.approx(1.0)
    assert found.slopes[0].steered.n == found.slopes[0].difference.n == 0
    assert found.turns[0].steered["nats"] is None


def test_nothing_to_warn_of() -> None:
    effects = judged()
    assert effects.warnings == ()
    assert [one.effect for one in effects.sentences] == ["texts", "prompts", "harmful", "harmless", "facts", "drift"]
    assert sentence(effects, "facts")[0].startswith("factual questions 14 of 40 before, 14 after (change 0 points, 95%")


def test_facts_that_are_lost() -> None:
    small, large = (
        sentence(judged(facts=marked(14, 12, 40)), "facts"),
        sentence(judged(facts=marked(14, 6, 40)), "facts"),
    )
    assert small[0].startswith("factual questions 14 of 40 before, 12 after (change −5 points, 95% interval −13 to ")
    assert not small[1]
    assert large[1]


def test_a_model_that_knows_nothing_is_not_called_unharmed() -> None:
    assert "a loss could hardly show" in sentence(judged(facts=marked(2, 0, 40)), "facts")[0]
    assert "nothing to lose" in sentence(judged(harmful=marked(0, 0)), "harmful")[0]
    assert "nothing to lose" not in sentence(judged(), "harmful")[0]


def test_refusals_that_are_lost_or_new() -> None:
    assert sentence(judged(harmful=marked(10, 3)), "harmful")[1]
    assert not sentence(judged(harmful=marked(3, 10)), "harmful")[1]
    assert sentence(judged(harmless=marked(0, 7)), "harmless")[1]
    assert not sentence(judged(harmless=marked(7, 0)), "harmless")[1]
    assert not sentence(judged(harmless=marked(0, 1)), "harmless")[1]


def test_text_that_became_unlikely() -> None:
    text, warning = sentence(judged(texts={f"t{i}": reading(2, 2.5) for i in range(4)}), "texts")
    assert "7.39 before, 12.2 after (ratio 1.65, 95% interval 1.65 to 1.65, 4 texts)" in text
    assert warning
    assert sentence(judged(prompts={"p": reading(0, 0, kl=0.9)}), "prompts")[1]


def test_no_number_is_a_warning() -> None:
    broken = judged(texts={"t": reading(2, math.nan)}, prompts={"p": reading(0, 0, kl=math.nan)})
    assert sentence(broken, "texts")[1]
    assert sentence(broken, "prompts")[1]
    assert "after (ratio no number" in sentence(broken, "texts")[0]
    assert SideEffects.model_validate_json(broken.model_dump_json()).texts.steered is None


def test_a_reading_without_a_number_goes_through_the_journal() -> None:
    piece = EffectPiece(key="k", reading=reading(2, math.nan, kl=math.inf))
    again = EffectPiece.model_validate(json.loads(json.dumps(as_json(piece)))).reading
    assert again is not None
    assert math.isnan(again.nats_steered)
    assert math.isinf(again.kl)


def test_running_away() -> None:
    rising: list[list[float | None]] = [[1.2, 1.5, 1.8], [1.1, 1.3, 1.6], [1.0, 1.4, 1.7], [1.0, 1.2, 1.6]]
    grows = {**FLAT, True: rising}
    text, warning = sentence(judged(turns=turns(grows)), "drift")
    assert text.endswith("it runs away")
    assert warning
    # One conversation of four that does not: it may be chance.
    rising[3] = [1.4, 1.3, 1.2]
    assert not sentence(judged(turns=turns(grows)), "drift")[1]
    # Both sides alike: it is the conversation, and not steering.
    both = {False: rising[:3], True: rising[:3]}
    assert not sentence(judged(turns=turns(both)), "drift")[1]
    # Two conversations are too few.
    assert not sentence(judged(turns=turns({side: rows[:2] for side, rows in grows.items()})), "drift")[1]


def test_repeating_and_fading() -> None:
    repeats = turns({False: [[0.9, 0.9, 0.9]] * 4, True: [[0.9, 0.8, 0.6]] * 4}, "distinct_2")
    assert sentence(judged(turns=repeats), "drift")[0].endswith("repeat themselves more and more")
    fades = turns({False: [[10, 10, 10]] * 4, True: [[60, 40, 20]] * 4}, "trait")
    text, warning = sentence(judged(turns=fades), "drift")
    assert "the trait score's lift goes from +50 to +10 points (−20 points" in text
    assert text.endswith("the effect fades")
    assert warning
    grows = turns({False: [[10, 10, 10]] * 4, True: [[40, 60, 80]] * 4}, "trait")
    assert sentence(judged(turns=grows), "drift")[0].endswith("the effect grows")
    little = turns({False: [[10, 10, 10]] * 4, True: [[40, 45, 50]] * 4}, "trait")
    assert not sentence(judged(turns=little), "drift")[1]
    stays = turns({False: [[10, 10, 10]] * 4, True: [[60, 60, 60]] * 4}, "trait")
    assert not sentence(judged(turns=stays), "drift")[1]


def test_nothing_measured_is_said() -> None:
    effects = judged(texts={}, prompts={}, harmful=[], harmless=[], facts=[], turns=[])
    assert effects.warnings == ()
    assert all("not measured" in one.text for one in effects.sentences)
