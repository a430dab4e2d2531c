import math
from collections.abc import Sequence
from typing import Any

import pytest

from steer_llama.evaluation import MIN_QUESTIONS, judge_sweep
from steer_llama.evaluation.choose import Wanted
from steer_llama.records import Trial, Verdict, as_json
from tests.evaluation.trials import Arm, trials

LOW = [0.0, 0, 0, 30, 0, 0, 20, 0]
HIGH = [90.0, 80, 100, 90, 70, 0, 100, 95]
DEV = [*trials("unsteered", [0] * 4), *trials("steered", [80] * 4, layer=12, strength=0.3, nats=1.2)]


def on_test(arm: Arm, scores: Sequence[float | None], **more: Any) -> list[Trial]:
    steered = {"layer": 12, "strength": 0.3} if arm in {"steered", "random"} else {}
    return trials(arm, scores, split="test", **steered, **more)


def judged(*arms: list[Trial], wanted: Wanted = "more", dev: Sequence[Trial] = DEV) -> Verdict:
    return judge_sweep(
        [*dev, *(trial for arm in arms for trial in arm)],
        trait="emoji",
        metric="emoji",
        model="tiny",
        source_name="pi",
        target_name="llama",
        wanted=wanted,
        min_coherence=60,
        bootstrap=500,
        seed=0,
    )


PLAIN = on_test("unsteered", LOW)
STEERED = on_test("steered", HIGH, nats=1.2)
RANDOM = [trial for seed in range(3) for trial in on_test("random", LOW, direction=seed)]


def test_use() -> None:
    verdict = judged(PLAIN, STEERED, RANDOM, on_test("source", [100] * 8))
    assert verdict.decision == "use"
    assert verdict.sentence == (
        "Use it: at layer 12, strength 0.3 the share of answers with emoji rises from 25% to 88% (+62 points, 95% "
        "interval 25 to 88, 8 questions); random directions of the same norm reach 25%; perplexity goes from 2.7 to "
        "3.3 (coherence 82 of 100)."
    )
    assert [arm.arm for arm in verdict.arms] == ["unsteered", "steered", "random", "source"]
    assert verdict.arms[2].label == "llama, 3 random directions"
    assert verdict.arms[2].measured.answers == 24
    assert verdict.arms[1].lift_trait is not None
    assert verdict.arms[1].lift_trait.mean == pytest.approx((sum(HIGH) - sum(LOW)) / 8)
    assert verdict.over_random is not None
    assert verdict.over_random.n == 8
    assert Verdict.model_validate(as_json(verdict)) == verdict


def test_use_less() -> None:
    dev = [*trials("unsteered", [80] * 4), *trials("steered", [10] * 4, layer=12, strength=0.3)]
    high_random = on_test("random", HIGH, direction=0)
    verdict = judged(on_test("unsteered", HIGH), on_test("steered", LOW), high_random, wanted="less", dev=dev)
    assert verdict.decision == "use"
    assert "falls from 88% to 25% (−62 points" in verdict.sentence


def test_a_worse_prompt_does_not_matter() -> None:
    verdict = judged(PLAIN, STEERED, RANDOM, on_test("prompted", [40] * 8))
    assert verdict.decision == "use"
    assert "a prompt reaches 100% at coherence 100" in verdict.sentence


def test_prompt_is_better() -> None:
    verdict = judged(PLAIN, STEERED, RANDOM, on_test("prompted", [100] * 8))
    assert verdict.decision == "prompt"
    assert verdict.sentence.startswith("Prompt instead: steering works, but")


def test_a_further_prompt_that_is_less_coherent_is_not_better() -> None:
    assert judged(PLAIN, STEERED, RANDOM, on_test("prompted", [100] * 8, nats=1.5)).decision == "use"


def test_no_chance() -> None:
    weak = on_test("steered", [10, 0, 0, 30, 0, 0, 20, 0])
    verdict = judged(PLAIN, weak, RANDOM)
    assert verdict.decision == "no"
    assert verdict.sentence.startswith("Do not use it: the trait score's change on the test questions")
    assert "may be chance" in verdict.sentence
    assert "random directions of the same norm" in verdict.sentence


def test_no_random_does_it_too() -> None:
    verdict = judged(PLAIN, STEERED, on_test("random", HIGH, direction=0))
    assert verdict.decision == "no"
    assert "not told apart from random directions" in verdict.sentence
    assert "chance" not in verdict.sentence


def test_no_random_directions_tried() -> None:
    verdict = judged(PLAIN, STEERED)
    assert (verdict.decision, verdict.over_random) == ("no", None)
    assert "not compared with random directions" in verdict.sentence


def test_no_incoherent_on_test() -> None:
    verdict = judged(PLAIN, on_test("steered", HIGH, nats=2.0), RANDOM)
    assert verdict.decision == "no"
    assert "coherence on the test questions is 37 (95% interval 37 to 37), below the minimum of 60" in verdict.sentence


def test_no_too_few_questions() -> None:
    few = MIN_QUESTIONS - 1
    verdict = judged(PLAIN[:few], STEERED[:few], RANDOM)
    assert verdict.decision == "no"
    assert "5 scored test questions are too few" in verdict.sentence


def test_no_winner() -> None:
    dev = [*trials("unsteered", [0] * 4), *trials("steered", [90] * 4, layer=12, strength=0.9, nats=4.0)]
    verdict = judged(PLAIN, STEERED, on_test("source", [100] * 8), dev=dev)
    assert (verdict.decision, verdict.winner) == ("no", None)
    assert verdict.sentence == "Do not use it: no layer and strength keeps a coherence of 60 on the dev questions."
    assert [arm.arm for arm in verdict.arms] == ["unsteered", "source"]


def test_before_the_test_questions() -> None:
    verdict = judged()
    assert verdict.winner is not None
    assert (verdict.decision, verdict.arms) == ("no", ())
    assert verdict.sentence.startswith("Not confirmed: the winner of the dev questions has not been tried")


def test_only_the_winners_layer_and_strength_are_confirmed() -> None:
    stray = trials("steered", [0] * 8, split="test", layer=3, strength=0.1)
    assert judged(PLAIN, STEERED, RANDOM, stray) == judged(PLAIN, STEERED, RANDOM)


def test_a_share_that_stays_at_the_top_leaves_the_word_to_the_score() -> None:
    plain, steered = on_test("unsteered", [value + 5 for value in LOW]), on_test("steered", [90] * 8)
    verdict = judged(plain, steered, RANDOM)
    assert verdict.decision == "use"
    assert "the mean trait score rises from 11 to 90" in verdict.sentence


def test_without_unsteered_test_answers_there_is_no_norm() -> None:
    verdict = judged(STEERED, RANDOM)
    assert verdict.decision == "no"
    assert all(arm.measured.coherence is None for arm in verdict.arms)


def test_unscored_answers_do_not_break_the_verdict() -> None:
    verdict = judged(PLAIN, on_test("steered", [None] * 8), RANDOM)
    assert verdict.decision == "no"
    assert math.isnan(next(arm for arm in verdict.arms if arm.arm == "steered").measured.trait.mean)
    assert "nan" not in verdict.sentence
