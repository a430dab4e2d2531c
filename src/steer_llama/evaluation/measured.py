"""What a set of answers came to: from trials to `Measured`."""

import math
from collections.abc import Callable, Sequence

from steer_llama.errors import InputError
from steer_llama.evaluation.intervals import Grouped, mean_interval
from steer_llama.records import Measured, Trial


def by_question(trials: Sequence[Trial], value: Callable[[Trial], float | None]) -> Grouped:
    """The trials' values, grouped by question."""
    grouped: dict[str, list[float | None]] = {}
    for trial in trials:
        grouped.setdefault(trial.question, []).append(value(trial))
    return grouped


def trait_of(trial: Trial) -> float | None:
    """Trait score, 0–100; ``None`` where unscored."""
    return trial.trait_score


def shown_in(trial: Trial) -> float | None:
    """1 where the measured feature occurs at all, else 0; ``None`` where it was not counted."""
    return None if trial.trait_count is None else float(trial.trait_count > 0)


def measure(trials: Sequence[Trial], *, reference: Measured | None, resamples: int, seed: int) -> Measured:
    """Measure a set of answers.

    Args:
        trials: at least one.
        reference: the unsteered target on the same questions; ``None`` where ``trials`` are the unsteered themselves.
        resamples: resamplings of the questions for the intervals.
        seed: of the resamplings.

    Raises:
        InputError: there are no trials.
    """
    if not trials:
        raise InputError("there are no answers to measure (expected at least one trial).")
    perplexity, distinct_2 = perplexity_of(trials), distinct_2_of(trials)
    norm_perplexity = reference.perplexity if reference else perplexity
    norm_distinct_2 = reference.distinct_2 if reference else distinct_2
    return Measured(
        answers=len(trials),
        trait=mean_interval(by_question(trials, trait_of), resamples=resamples, seed=seed),
        share=mean_interval(by_question(trials, shown_in), resamples=resamples, seed=seed),
        perplexity=perplexity,
        distinct_2=distinct_2,
        coherence=coherence(perplexity, distinct_2, norm_perplexity, norm_distinct_2),
        words=sum(len(trial.text.split()) for trial in trials) / len(trials),
        profile=_profile(trials),
    )


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


def coherence(
    perplexity: float | None, distinct_2: float | None, norm_perplexity: float | None, norm_distinct_2: float | None
) -> float | None:
    """Coherence score, 0–100: 100 · min(1, norm's perplexity / perplexity) · min(1, distinct-2 / norm's distinct-2).

    Text that the unsteered model finds less likely than its own loses points, and so does text that repeats itself,
    which it would find very likely. The norm is the unsteered target. Where it has answers and the set at hand has
    none of two words, the score is 0; where a measurement is missing, it is ``None``.
    """
    if not norm_perplexity or not norm_distinct_2:
        return None
    if distinct_2 is None:
        return 0.0
    if perplexity is None:
        return None
    return 100.0 * min(1.0, norm_perplexity / perplexity) * min(1.0, distinct_2 / norm_distinct_2)


def _profile(trials: Sequence[Trial]) -> dict[str, float]:
    """Mean of each style feature over the answers that have it."""
    names = sorted({name for trial in trials for name in trial.features})
    profile: dict[str, float] = {}
    for name in names:
        values = [trial.features[name] for trial in trials if name in trial.features]
        profile[name] = sum(values) / len(values)
    return profile
