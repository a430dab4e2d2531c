import random
from collections.abc import Iterable

import numpy as np
import pytest

from steer_llama.errors import InputError
from steer_llama.evaluation.choose import choose_winner
from steer_llama.evaluation.halving import Step, next_step, rounds
from steer_llama.evaluation.replay import replay
from steer_llama.evaluation.smoothing import smoothed
from steer_llama.evaluation.winning import Objective
from steer_llama.records import Spot, Trial
from tests.evaluation.synthetic import TRAITS, swept
from tests.evaluation.trials import trials

QUESTIONS = [f"q{number}" for number in range(12)]


def known_of(every: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in every if trial.arm != "steered"]


def answers_to(every: Iterable[Trial], pairs: Iterable[tuple[Spot, str]]) -> list[Trial]:
    wanted = set(pairs)
    return [trial for trial in every if trial.spot is not None and (trial.spot, trial.question) in wanted]


def spots_of(every: Iterable[Trial]) -> list[Spot]:
    return sorted({trial.spot for trial in every if trial.spot is not None})


def step(every: list[Trial], trials: list[Trial], objective: Objective = "fidelity") -> Step:
    return next_step(spots_of(every), QUESTIONS, trials, wanted="more", min_coherence=60, objective=objective)


@pytest.mark.parametrize("objective", ["fidelity", "trait"])
@pytest.mark.parametrize("name", TRAITS)
def test_finds_what_the_whole_grid_finds_for_less(name: str, objective: Objective) -> None:
    """10 layers × 6 strengths × 12 questions, three seeds: within 2% of the best, for 40% of the tokens."""
    for seed in range(3):
        found = replay(swept(name, seed), wanted=TRAITS[name].wanted, min_coherence=60, objective=objective)
        assert found.winner is not None
        assert found.tokens <= 0.4
        assert found.regret <= 0.02


def test_regret_is_what_is_lost() -> None:
    """Where one layer is bad on the first questions and best on all the others, halving stops it and owns up to it."""

    def misled(trial: Trial) -> Trial:
        if trial.layer != 24:
            return trial
        return trial.model_copy(update={"trait_score": 0.0 if trial.question in QUESTIONS[:2] else 100.0})

    every = [misled(trial) for trial in swept("emoji", 0)]
    found = replay(every, wanted="more", min_coherence=60, objective="trait")
    assert found.best is not None
    assert found.best.layer == 24
    assert found.winner is not None
    assert found.winner.layer != 24
    plain, best, winner = (
        np.mean([trial.trait_score for trial in every if trial.arm == arm and trial.spot == spot])
        for arm, spot in (("unsteered", None), ("steered", found.best), ("steered", found.winner))
    )
    assert found.regret == pytest.approx((best - winner) / (best - plain))


def test_the_rounds_ask_more_of_fewer() -> None:
    every = swept("emoji", 1)
    seen: set[tuple[Spot, str]] = set()
    trials, sizes = known_of(every), []
    while (now := step(every, trials)).pairs:
        assert seen.isdisjoint(now.pairs), "nothing is asked twice"
        seen.update(now.pairs)
        sizes.append((len(now.alive), len({question for _, question in now.pairs})))
        trials += answers_to(every, now.pairs)
    assert sizes == [(60, 2), (22, 3), (11, 7)]
    assert now.number == 2
    for spot in now.alive:
        assert {question for asked, question in seen if asked == spot} == set(QUESTIONS), "the last have answered all"
    choice = choose_winner(trials, wanted="more", min_coherence=60, bootstrap=5, seed=0)
    assert choice.winner is not None
    assert choice.winner.spot in now.alive
    assert sorted({c.measured.answers for c in choice.conditions}) == [2, 5, 12]
    assert all(c.measured.answers == 12 for c in choice.conditions if c.eligible)


def test_it_goes_on_where_it_was_and_the_order_does_not_matter() -> None:
    every = swept("playful", 2)
    first = step(every, known_of(every))
    some = answers_to(every, first.pairs[:70])
    assert step(every, [*known_of(every), *some]).pairs == first.pairs[70:]
    trials = [*known_of(every), *answers_to(every, first.pairs)]
    second = step(every, trials)
    assert second.number == 1
    random.Random(0).shuffle(trials)
    assert step(every, trials) == second
    later = answers_to(every, ((spot, question) for spot in spots_of(every) for question in QUESTIONS[8:]))
    assert step(every, [*trials, *later]).alive == second.alive, "what was not asked for decides nothing"


def test_what_is_clearly_broken_is_stopped_after_the_first_round() -> None:
    every = swept("emoji", 0)
    first = step(every, known_of(every))
    second = step(every, [*known_of(every), *answers_to(every, first.pairs)])
    assert max(spot.strength for spot in second.alive) <= 0.3
    ruined = [
        trial.model_copy(update={"nll": 64 * 5.0}) if trial.arm == "steered" and trial.layer != 14 else trial
        for trial in every
    ]
    second = step(ruined, [*known_of(ruined), *answers_to(ruined, first.pairs)])
    assert {spot.layer for spot in second.alive} == {14}, "fewer than the plan has room for"
    nothing = [trial.model_copy(update={"nll": 64 * 5.0}) if trial.arm == "steered" else trial for trial in every]
    last = step(nothing, [*known_of(nothing), *answers_to(nothing, first.pairs)])
    assert (last.pairs, last.alive) == ((), ())


def test_a_judge_can_find_it_broken() -> None:
    every = swept("emoji", 0)
    first = step(every, known_of(every))
    judged = [
        trial.model_copy(update={"coherence_score": 20.0 if trial.arm == "steered" and trial.layer == 14 else 80.0})
        for trial in every
    ]
    second = step(judged, [*known_of(judged), *answers_to(judged, first.pairs)])
    assert 14 not in {spot.layer for spot in second.alive}


def test_unscored_and_unmeasured_conditions_are_no_error() -> None:
    every = [
        trial.model_copy(update={"trait_score": None, "features": {}}) if trial.layer in {12, 14} else trial
        for trial in swept("emoji", 0)
    ]
    first = step(every, known_of(every))
    trials = [*known_of(every), *answers_to(every, first.pairs)]
    for objective in ("fidelity", "trait"):
        assert not {12, 14} & {spot.layer for spot in step(every, trials, objective).alive}


def test_a_small_grid_is_answered_whole() -> None:
    assert [(part.conditions, part.questions) for part in rounds(7, 12)] == [(7, 12)]
    assert [(part.conditions, part.questions) for part in rounds(60, 3)] == [(60, 3)]
    for conditions in range(8, 200, 7):
        for questions in range(4, 40):
            plan = rounds(conditions, questions)
            spent, before = 0, 0
            for part in plan:
                spent, before = spent + part.conditions * (part.questions - before), part.questions
            assert plan[-1].questions == questions
            assert [p.conditions for p in plan] == sorted((p.conditions for p in plan), reverse=True)
            assert len({part.questions for part in plan}) == 3
            assert spent < conditions * questions
            if conditions >= 40 and questions >= 12:
                assert spent <= 0.4 * conditions * questions


def test_fidelity_needs_the_source() -> None:
    every = swept("emoji", 0)
    with pytest.raises(InputError, match="--responses"):
        step(every, [trial for trial in every if trial.arm == "unsteered"])
    with pytest.raises(InputError, match="no unsteered answers"):
        step(every, [], "trait")


def test_a_grid_with_holes_cannot_be_replayed() -> None:
    every = swept("emoji", 0)[:-1]
    with pytest.raises(InputError, match=r"1 answers are missing, the first at layer 24, strength 0\.7 to 'q11'"):
        replay(every, wanted="more", min_coherence=60, objective="fidelity")


def test_nothing_wins_nowhere() -> None:
    flat = [
        *trials("unsteered", [50] * 12),
        *(t for layer in range(10) for t in trials("steered", [50] * 12, layer=layer, strength=0.1)),
    ]
    found = replay(flat, wanted="more", min_coherence=60, objective="trait")
    assert (found.winner, found.best, found.regret) == (None, None, 0.0)


def spot(layer: int, strength: float, vector: str = "") -> Spot:
    return Spot(vector, "add", "all", layer, strength)


def test_neighbours_are_the_next_in_the_grid() -> None:
    spots = [spot(4, 0.1), spot(10, 0.1), spot(11, 0.1), spot(4, 0.4), spot(4, 0.1, "other")]
    everything = np.ones(5, dtype=bool)
    values = np.array([1.0, 0.0, 0.0, 0.0, 100.0])
    near, far = np.exp(-1 / 2), np.exp(-4 / 2)
    diagonal = np.exp(-2 / 2)
    found = smoothed(spots, values, everything, 1.0)
    assert found[0] == pytest.approx(1 / (1 + 2 * near + far)), "two neighbours, one two steps away"
    assert found[1] == pytest.approx(near / (1 + 2 * near + diagonal))
    assert found[4] == 100, "another vector is no neighbour"
    counts = np.array([False, True, True, True, True])
    assert smoothed(spots, values, counts, 1.0)[1] == 0, "what is broken says nothing of others"
    assert smoothed(spots, values, counts, 1.0)[0] == pytest.approx(1 / (1 + 2 * near + far)), "but counts for itself"
