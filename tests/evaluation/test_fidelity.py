import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import energy_distance

from steer_llama.evaluation import profiles
from steer_llama.evaluation.fidelity import Scale, Yardstick, distance, fidelity, profile_scale
from steer_llama.evaluation.profiles import PROFILE, profile_of
from steer_llama.records import Trial
from steer_llama.style import measure
from tests.evaluation.trials import trial

UNITS = Scale((1.0,) * len(PROFILE))


def answer(question: object, emoji: float = 0.0, **more: Any) -> Trial:
    """100 words in 100 tokens with that many emoji."""
    features = {"words": 100.0, "sentence_words": 10.0, "emoji": emoji} | more.pop("features", {})
    return trial(question=f"q{question}", features=features, tokens=100, nll=100.0, **more)


def answers(emoji: list[float], first: int = 0) -> list[Trial]:
    return [answer(first + number, value) for number, value in enumerate(emoji)]


def test_the_profile_is_per_100_tokens() -> None:
    text = "# Tea\n\n- **Boil** water! 🙂\n- Wait. Is it *done*? Yes, [really](https://a.b) `now`."
    found = profile_of(trial(text=text, features=measure(text), tokens=40))
    assert found is not None
    by_name = dict(zip(PROFILE, found, strict=True))
    assert by_name["emoji"] == pytest.approx(100 / 40)
    assert by_name["markdown"] == pytest.approx(100 * (1 + 2 + 1 + 1 + 1 + 1) / 40)
    assert by_name["exclamations"] == by_name["questions"] == pytest.approx(100 / 40)
    assert by_name["punctuation"] == pytest.approx(100 * 5 / 40)
    assert by_name["length"] == 40
    assert by_name["sentence_words"] == measure(text)["sentence_words"]


def test_a_text_of_nothing_but_emoji_has_a_rate() -> None:
    found = profile_of(trial(text="🙂🙂🙂", features=measure("🙂🙂🙂"), tokens=6))
    assert found is not None
    assert found[PROFILE.index("emoji")] == pytest.approx(50)


def test_nothing_and_unmeasured_are_not_the_same() -> None:
    assert profile_of(trial(text=" ", features={}, tokens=0)) == (0.0,) * len(PROFILE)
    assert profile_of(trial(features={}, tokens=10)) is None
    assert profile_of(trial(features={"words": 4.0}, tokens=0)) is None


def test_agrees_with_scipy_in_one_dimension() -> None:
    """scipy gives the root of the V-statistic, which has each answer's distance from itself among the pairs."""
    random = np.random.default_rng(0)
    first, second = random.normal(2, 1, 9), random.gamma(2, 2, 14)
    found = distance(answers(list(first), 0), answers(list(second), 100), UNITS)
    within = sum(
        np.abs(part[:, None] - part).sum() * (1 / n**2 - 1 / (n * (n - 1))) for part, n in ((first, 9), (second, 14))
    )
    assert found == pytest.approx(energy_distance(first, second) ** 2 + within)


def brute_force(own: list[Trial], source: list[Trial], scale: Scale) -> float:
    """Straight from the definition, pair of questions by pair of questions."""

    def mean(first: list[Trial], second: list[Trial]) -> float:
        gaps = []
        for one, other in product({t.question for t in first}, {t.question for t in second}):
            if one != other:
                pairs = product([t for t in first if t.question == one], [t for t in second if t.question == other])
                gaps.append(np.mean([math.dist(point(a), point(b)) for a, b in pairs]))
        return float(np.mean(gaps))

    def point(one: Trial) -> list[float]:
        profile = profile_of(one)
        assert profile is not None
        return [value / unit for value, unit in zip(profile, scale.unit_F, strict=True)]

    return 2 * mean(own, source) - mean(own, own) - mean(source, source)


def drawn(seed: int, questions: int, emoji: float, samples: int = 1) -> list[Trial]:
    random = np.random.default_rng(seed)
    return [
        answer(
            number,
            random.poisson(emoji),
            sample=sample,
            features={
                "punctuation": random.gamma(2, 4),
                "bold": random.poisson(1.0),
                "sentence_words": random.gamma(4, 4),
            },
        )
        for number in range(questions)
        for sample in range(samples)
    ]


def test_agrees_with_brute_force_in_all_dimensions() -> None:
    own, source = drawn(1, 6, 1.0, samples=2), drawn(2, 8, 4.0)
    scale = profile_scale(source, own)
    assert distance(own, source, scale) == pytest.approx(brute_force(own, source, scale))
    similar = drawn(5, 8, 4.0)
    assert distance(similar, source, scale) == pytest.approx(brute_force(similar, source, scale))


def test_a_resampling_is_the_brute_force_over_what_it_drew() -> None:
    source, plain = drawn(1, 5, 4.0), drawn(2, 5, 0.5)
    scale = profile_scale(source, plain)
    yardstick = Yardstick(source, plain, scale, resamples=20, seed=3)
    picks_RQ = np.random.default_rng(3).multinomial(5, [0.2] * 5, 20)
    for at, picks_Q in enumerate(picks_RQ):
        picked = [number for number, times in enumerate(picks_Q) for _ in range(times)]
        assert yardstick.unsteered.drawn_R[at] == pytest.approx(slow(picked, plain, source, scale), nan_ok=True)


def slow(picked: list[int], own: list[Trial], source: list[Trial], scale: Scale) -> float:
    """The distance over drawn questions, in which one may stand twice and is never compared with itself."""
    points = [
        [np.array(profile_of(next(t for t in part if t.question == f"q{number}"))) / scale.unit_F for number in picked]
        for part in (own, source)
    ]
    apart = [(i, j) for i in range(len(picked)) for j in range(len(picked)) if picked[i] != picked[j]]
    if not apart:
        return math.nan
    a, b = points
    return float(np.mean([2 * math.dist(a[i], b[j]) - math.dist(a[i], a[j]) - math.dist(b[i], b[j]) for i, j in apart]))


def test_few_answers_are_not_punished() -> None:
    """The energy's expectation is 0 where nothing differs, with three answers as with twelve."""
    for questions in (3, 12):
        energies = [
            distance(drawn(seed, questions, 2.0), drawn(10_000 + seed, questions, 2.0), UNITS) for seed in range(300)
        ]
        error = np.std(energies) / math.sqrt(300)
        assert abs(np.mean(energies)) < 3 * error


def test_more_samples_of_one_question_are_no_answers_to_others() -> None:
    source = answers([4.0, 5.0, 3.0, 6.0])
    once, thrice = answers([0.0, 1.0, 0.0, 2.0]), [t for t in answers([0.0, 1.0, 0.0, 2.0]) for _ in range(3)]
    assert distance(once, source, UNITS) == pytest.approx(distance(thrice, source, UNITS))


def test_what_is_closed() -> None:
    source, plain = drawn(1, 40, 5.0), drawn(2, 40, 0.2)
    scale = profile_scale(source, plain)

    def closed(own: list[Trial]) -> Any:
        return fidelity(own, source, plain, scale, resamples=400, seed=0).closed

    assert closed(plain).mean == pytest.approx(0)
    assert closed(plain).low == closed(plain).high == 0, "paired: no resampling tells it from itself"
    assert closed(source).mean == pytest.approx(1, abs=1e-6)
    like_source = closed(drawn(3, 40, 5.0))
    assert like_source.low < 1 < like_source.high
    halfway = closed(drawn(4, 40, 2.5))
    assert 0.2 < halfway.mean < 0.9
    assert halfway.low > 0
    assert closed(drawn(5, 40, 60.0)).high < 0, "so many emoji are further from the source than none"


def test_a_mixture_leaves_the_square_of_what_is_not_mixed_in() -> None:
    source, plain = drawn(1, 400, 5.0), drawn(2, 400, 0.2)
    mixed = [*source[:100], *plain[100:]]
    found = fidelity(mixed, source, plain, profile_scale(source, plain), resamples=20, seed=0)
    assert found.closed.mean == pytest.approx(1 - 0.75**2, abs=0.03)


def test_without_a_gap_there_is_no_share_of_it() -> None:
    source, plain = drawn(1, 12, 2.0), drawn(2, 12, 2.0)
    found = fidelity(drawn(3, 12, 9.0), source, plain, profile_scale(source, plain), resamples=200, seed=0)
    assert found.distance.mean > 0
    assert math.isnan(found.closed.mean)
    assert found.closed.n == 0


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth = distance(drawn(1, 600, 1.0), drawn(2, 600, 4.0), UNITS)
    hits = 0
    for seed in range(200):
        own, source = drawn(100 + seed, 30, 1.0), drawn(5_000 + seed, 30, 4.0)
        found = Yardstick(source, own, UNITS, resamples=300, seed=seed).unsteered.interval()
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_sources_other_questions_count_and_are_drawn_apart() -> None:
    source, plain = [*drawn(1, 6, 4.0), *(answer(100 + n, 4.0) for n in range(6))], drawn(2, 6, 0.5)
    yardstick = Yardstick(source, plain, UNITS, resamples=100, seed=0)
    assert yardstick.unsteered.value == pytest.approx(brute_force(plain, source, UNITS))
    assert yardstick.unsteered.n == 6
    shared = yardstick._weights_RQ[1:, :6].sum(axis=1)
    assert (shared == 6).all()


def test_answers_that_were_not_measured_are_left_out() -> None:
    source, plain = drawn(1, 6, 4.0), drawn(2, 6, 0.5)
    unmeasured = [*plain, *(trial(question="q1", features={}) for _ in range(5))]
    assert distance(unmeasured, source, UNITS) == distance(plain, source, UNITS)
    assert math.isnan(distance(plain[:1], source[:1], UNITS))
    assert math.isnan(distance([], source, UNITS))
    nothing = fidelity([], source, plain, UNITS, resamples=10, seed=0)
    assert (nothing.distance.n, nothing.closed.n) == (0, 0)


def test_the_scale_resists_odd_answers_and_has_a_floor() -> None:
    source, plain = answers([4.0, 5.0, 3.0, 6.0] * 5), answers([0.0, 1.0, 0.0, 2.0] * 5)
    emoji = PROFILE.index("emoji")
    usual = profile_scale(source, plain).unit_F[emoji]
    values = np.array([4.0, 5, 3, 6] * 5 + [0.0, 1, 0, 2] * 5)
    assert usual == pytest.approx(pdist(values[:, None]).mean())
    assert squareform(pdist(values[:, None])).shape == (40, 40)
    odd = profile_scale([*source, answer(99, 5_000.0)], plain).unit_F[emoji]
    assert odd == pytest.approx(usual, rel=0.1)
    # 100 tokens: one mark an answer is 1 per 100 tokens, a tenth of the length is 10 tokens.
    flat = profile_scale(answers([0.0] * 8), answers([0.0] * 8)).unit_F
    assert dict(zip(PROFILE, flat, strict=True)) == {
        **dict.fromkeys(PROFILE, 1.0),
        "length": 10.0,
        "sentence_words": 1.0,
    }


def test_what_both_lack_counts_when_it_appears() -> None:
    source, plain = answers([0.0] * 8), answers([0.0] * 8)
    loud = answers([3.0, 5.0, 4.0, 3.0, 2.0, 6.0, 4.0, 5.0])
    assert distance(loud, source, profile_scale(source, plain)) > 1
    assert profiles.profile_scale([], []) == UNITS


def test_it_is_quick() -> None:
    """Sixty conditions of twelve questions on 2,000 resamplings: nothing is looped over."""
    source, plain = drawn(1, 12, 4.0), drawn(2, 12, 0.5)
    scale = profile_scale(source, plain)
    yardstick = Yardstick(source, plain, scale, resamples=2000, seed=0)
    assert [yardstick.distance(drawn(seed, 12, 2.0)).drawn_R.shape for seed in range(60)] == [(2000,)] * 60
