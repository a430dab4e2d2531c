import math
from collections.abc import Sequence
from typing import Any

import pytest

from steer_llama.evaluation import MIN_QUESTIONS, Wanted, judge_sweep
from steer_llama.records import Arm, Trial, Verdict, as_json
from tests.evaluation.trials import styled, trials

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
        objective="trait",
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


def near(arm: Arm, emoji: float, luck: int, **more: Any) -> list[Trial]:
    steered = {"layer": 12, "strength": 0.3} if arm in {"steered", "random", "turned"} else {}
    return styled(arm, 24, emoji, luck=luck, split="test", **steered | more)


NEAR_DEV = [
    *styled("unsteered", 12, 0.3, luck=1),
    *styled("source", 12, 5.0, luck=2),
    *styled("steered", 12, 4.0, luck=3, layer=12, strength=0.3),
]
BARE, SOURCE, NEARER = near("unsteered", 0.3, 4), near("source", 5.0, 5), near("steered", 4.0, 6)
NO_DIRECTION = [trial for seed in range(3) for trial in near("random", 0.3, 10 + seed, direction=seed)]
TURNED = near("turned", 0.1, 7, strength=-0.3)
ALL = [*BARE, *SOURCE, *NEARER, *NO_DIRECTION, *TURNED]


def by_fidelity(*arms: list[Trial]) -> Verdict:
    return judge_sweep(
        [*NEAR_DEV, *(trial for arm in arms for trial in arm)],
        trait="emoji",
        metric="emoji",
        model="tiny",
        source_name="pi",
        target_name="llama",
        wanted="more",
        min_coherence=60,
        bootstrap=300,
        seed=0,
    )


def test_use_by_fidelity() -> None:
    verdict = by_fidelity(ALL)
    assert (verdict.decision, verdict.objective) == ("use", "fidelity")
    assert verdict.sentence.startswith("Use it: at layer 12, strength 0.3 it closes ")
    assert "of the distance from the source's style (24 questions); random directions of the same norm close " in (
        verdict.sentence
    )
    assert "the vector turned round closes" in verdict.sentence
    arms = {arm.arm: arm for arm in verdict.arms}
    assert list(arms) == ["unsteered", "steered", "random", "turned", "source"]
    unsteered, steered = arms["unsteered"].fidelity, arms["steered"].fidelity
    assert unsteered is not None
    assert (unsteered.closed.mean, unsteered.closed.low, unsteered.closed.high) == (0, 0, 0)
    assert steered is not None
    assert steered.closed.low > 0.3
    assert arms["source"].fidelity is None
    assert arms["steered"].effect is not None
    assert arms["steered"].effect.low > 1
    assert arms["steered"].anti_steered is not None
    assert arms["turned"].anti_steered is not None
    assert arms["steered"].anti_steered.share.mean < 0.1
    assert [comparison.against for comparison in verdict.comparisons] == ["random", "turned"]
    random = verdict.comparisons[0]
    assert random.trait == verdict.over_random
    assert random.closed is not None
    assert random.closed.low > 0
    assert Verdict.model_validate(as_json(verdict)) == verdict


def test_random_directions_count_one_by_one() -> None:
    """One with none and one with twice as many are a mixture much like the source, which neither of them is."""
    apart = [*near("random", 0.0, 20, direction=0), *near("random", 10.0, 21, direction=1)]
    verdict = by_fidelity(BARE, SOURCE, NEARER, apart)
    one, other = (
        next(arm for arm in by_fidelity(BARE, SOURCE, NEARER, part).arms if arm.arm == "random").fidelity
        for part in (apart[:24], apart[24:])
    )
    both = next(arm for arm in verdict.arms if arm.arm == "random").fidelity
    assert one is not None
    assert other is not None
    assert both is not None
    assert both.closed.mean == pytest.approx((one.closed.mean + other.closed.mean) / 2)


@pytest.mark.parametrize(
    ("arms", "objection"),
    [
        ([BARE, SOURCE, near("steered", 0.4, 6), NO_DIRECTION, TURNED], "may be chance"),
        ([BARE, SOURCE, NEARER, TURNED], "not compared with random directions"),
        ([BARE, SOURCE, NEARER, near("random", 4.0, 8, direction=0), TURNED], "random directions of the same norm ("),
        ([BARE, SOURCE, NEARER, NO_DIRECTION, near("turned", 4.0, 8)], "the same vector turned round ("),
        ([BARE, NEARER, NO_DIRECTION], "no answers of the source to the test questions"),
        ([BARE, near("source", 0.3, 9), NEARER, NO_DIRECTION], "the source's style is not told apart"),
        ([SOURCE, NEARER], "no answers of the source to the test questions, or none of the unsteered"),
        ([BARE[:5], SOURCE[:5], NEARER[:5], NO_DIRECTION], "too few to tell"),
        ([BARE, SOURCE, near("steered", 4.0, 6, nats=2.5), NO_DIRECTION], "below the minimum of 60"),
        ([BARE, SOURCE, NO_DIRECTION], "has not been tried on the test questions"),
    ],
)
def test_no_by_fidelity(arms: list[list[Trial]], objection: str) -> None:
    verdict = by_fidelity(*arms)
    assert verdict.decision == "no"
    assert objection in verdict.sentence
    assert "nan" not in verdict.sentence


def test_nearer_but_away_from_the_trait_is_no_use() -> None:
    high = [trial.model_copy(update={"trait_score": 90.0}) for trial in BARE]
    verdict = by_fidelity(high, SOURCE, NEARER, NO_DIRECTION)
    assert verdict.decision == "no"
    assert "the trait score moves the wrong way (−" in verdict.sentence


def test_a_judge_finds_it_incoherent_on_test() -> None:
    def judged(answers: list[Trial], score: float) -> list[Trial]:
        return [trial.model_copy(update={"coherence_score": score}) for trial in answers]

    assert by_fidelity(judged(BARE, 80), SOURCE, judged(NEARER, 60), NO_DIRECTION).decision == "use"
    verdict = by_fidelity(judged(BARE, 80), SOURCE, judged(NEARER, 30), NO_DIRECTION)
    assert verdict.decision == "no"
    assert "the judge's coherence, in percent of the norm's, is 38" in verdict.sentence


@pytest.mark.parametrize(
    ("arm", "said"), [("prompted", "a prompt"), ("examples", "a prompt with the source's examples")]
)
def test_prompt_instead_by_fidelity(arm: Arm, said: str) -> None:
    far = [*BARE, *SOURCE, *near("steered", 1.5, 6), *NO_DIRECTION]
    verdict = by_fidelity(far, near(arm, 5.0, 30))
    assert verdict.decision == "prompt"
    assert verdict.sentence.startswith(f"Prompt instead: steering works, but {said} goes further without")
    assert "of the distance closed against steering)" in verdict.sentence
    assert by_fidelity(far, near(arm, 5.0, 30, nats=1.6)).decision == "use", "less coherent"
    assert by_fidelity(far, near(arm, 0.5, 30)).decision == "use", "not nearer"
    assert by_fidelity(far, near(arm, 60.0, 30)).decision == "use", "louder is not nearer"


def test_old_verdicts_are_still_read() -> None:
    verdict = as_json(judged(PLAIN, STEERED, RANDOM))
    for key in ("objective", "comparisons", "side_effects"):
        del verdict[key]
    for condition in verdict["conditions"]:
        for key in ("vector", "mode", "where", "fidelity", "anti_steered"):
            del condition[key]
    read = Verdict.model_validate(verdict)
    assert (read.objective, read.comparisons, read.side_effects) == ("trait", (), None)
    assert (read.conditions[0].vector, read.conditions[0].mode, read.conditions[0].where) == ("", "add", "all")
