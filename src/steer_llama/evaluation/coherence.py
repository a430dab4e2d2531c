"""Whether answers still make sense: as far as it can be counted, and in a judge's eyes where one was asked.

Shapes: R resamplings.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from steer_llama.records import Interval, Trial


@dataclass(frozen=True)
class Level:
    """What coherence is made of, for a set of answers."""

    perplexity: float | None
    """exp of the mean nats per answer token under the unsteered target."""
    distinct_2: float | None
    """Mean distinct-2, 0–1."""
    words: float
    """Mean words per answer; emoji are none."""
    judged: float | None = None
    """Mean of a judge's coherence scores, 0–100, over the answers that it scored."""


def level_of(trials: Sequence[Trial]) -> Level:
    """The level of a set of answers, which is not empty."""
    judged = [trial.coherence_score for trial in trials if trial.coherence_score is not None]
    return Level(
        perplexity_of(trials),
        distinct_2_of(trials),
        sum(map(words_in, trials)) / len(trials),
        sum(judged) / len(judged) if judged else None,
    )


def norm_of(plain: Sequence[Trial], source: Sequence[Trial]) -> Level:
    """What an answer must reach to be wholly coherent: the unsteered target's level or the source's, the easier one.

    The source's, since its style is what is wanted: it may be terser than the target, and the target finds every
    other style less likely than its own. Without answers of the source it is the unsteered target's alone.
    """
    own = level_of(plain)
    if not source:
        return own
    other = level_of(source)
    return Level(
        perplexity=max(own.perplexity or 0.0, other.perplexity or 0.0) or None,
        distinct_2=min((value for value in (own.distinct_2, other.distinct_2) if value is not None), default=None),
        words=min(own.words, other.words),
        judged=min((value for value in (own.judged, other.judged) if value is not None), default=None),
    )


def words_in(trial: Trial) -> float:
    """Words of the answer, as its style profile counts them."""
    return trial.features.get("words", float(len(trial.text.split())))


def perplexity_of(trials: Sequence[Trial]) -> float | None:
    """The exponential of the mean nats per token, over the answers that have both; ``None`` where none has."""
    scored = [(trial.nll, trial.tokens) for trial in trials if trial.nll is not None and trial.tokens > 0]
    if not scored:
        return None
    nats = sum(nll for nll, _ in scored) / sum(tokens for _, tokens in scored)
    # A float holds exp up to about 709; text that bad has no perplexity worth telling apart.
    return math.exp(min(nats, 700.0))


def distinct_2_of(trials: Sequence[Trial]) -> float | None:
    """Mean distinct-2 over all answers, 0–1; ``None`` where no answer has two words.

    An answer with fewer than two words counts as 0: otherwise empty answers, or one long word of nothing but emoji,
    would drop out of the mean and leave the condition looking as coherent as its few whole answers.
    """
    if all(trial.distinct_2 is None for trial in trials):
        return None
    return sum(trial.distinct_2 or 0.0 for trial in trials) / len(trials)


def coherence(level: Level, norm: Level) -> float | None:
    """Coherence score, 0–100: 100 times how near the level comes to the norm in each of its three parts.

    norm's perplexity / perplexity, distinct-2 / norm's, words / norm's, each at most 1. Text that the unsteered model
    finds unlikely loses points; so does text that repeats itself, which it would find likely; and so does text in
    which marks stand instead of words. Answers without two words have 0; where a measurement is missing, it is
    ``None``.
    """
    if not norm.perplexity or not norm.distinct_2 or not norm.words:
        return None
    if level.distinct_2 is None:
        return 0.0
    if level.perplexity is None:
        return None
    likely = min(1.0, norm.perplexity / level.perplexity)
    varied = min(1.0, level.distinct_2 / norm.distinct_2)
    worded = min(1.0, level.words / norm.words)
    return 100.0 * likely * varied * worded


def judged_share(level: Level, norm: Level) -> float | None:
    """The judge's coherence in percent of the norm's, 100 at most; ``None`` where it scored either of them not at all.

    A judge's scale is absolute: a small model's own answers may score 60, and steering should not be blamed for it.
    """
    if level.judged is None or norm.judged is None:
        return None
    return 100.0 if norm.judged <= 0 else 100.0 * min(1.0, level.judged / norm.judged)


def least_coherence(level: Level, norm: Level) -> float | None:
    """The counted coherence or the judge's share of the norm's, whichever is less; ``None`` where it was not counted.

    It has to reach the minimum, so both have, where a judge was asked. Neither makes up for the other: the count does
    not see nonsense in fluent words, the judge may not see a loop.
    """
    counted, judged = coherence(level, norm), judged_share(level, norm)
    return counted if counted is None or judged is None else min(counted, judged)


def coherence_interval(
    trials: Sequence[Trial], plain: Sequence[Trial], source: Sequence[Trial], *, resamples: int, seed: int
) -> Interval | None:
    """The coherence of ``trials`` against the norm of the other two, with its 95% interval over questions.

    A resampling draws questions, each with everybody's answers to it, so that a hard question weighs on both sides.
    ``None`` where coherence cannot be measured.
    """
    return _interval(coherence, trials, plain, source, resamples, seed)


def judged_interval(
    trials: Sequence[Trial], plain: Sequence[Trial], source: Sequence[Trial], *, resamples: int, seed: int
) -> Interval | None:
    """As `coherence_interval`, of the judge's share; ``None`` without a judge."""
    return _interval(judged_share, trials, plain, source, resamples, seed)


def _interval(
    value_of: Callable[[Level, Level], float | None],
    trials: Sequence[Trial],
    plain: Sequence[Trial],
    source: Sequence[Trial],
    resamples: int,
    seed: int,
) -> Interval | None:
    value = value_of(level_of(trials), norm_of(plain, source))
    questions = sorted({trial.question for trial in trials} & {trial.question for trial in plain})
    if value is None or not questions:
        return None
    of_question = [
        tuple([trial for trial in answers if trial.question == question] for answers in (trials, plain, source))
        for question in questions
    ]
    drawn_R = []
    for picks in np.random.default_rng(seed).integers(0, len(questions), size=(resamples, len(questions))):
        own, bare, wanted = ([t for pick in picks for t in of_question[pick][part]] for part in range(3))
        drawn_R.append(value_of(level_of(own), norm_of(bare, wanted)))
    known_R = [drawn for drawn in drawn_R if drawn is not None]
    if not known_R:
        return None
    low, high = np.quantile(known_R, (0.025, 0.975))
    return Interval(mean=value, low=float(low), high=float(high), n=len(questions))
