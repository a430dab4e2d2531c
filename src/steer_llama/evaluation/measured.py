"""What a set of answers came to: from trials to `Measured`."""

from collections.abc import Callable, Sequence

from steer_llama.errors import InputError
from steer_llama.evaluation.coherence import Level, coherence, level_of
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


def measure(trials: Sequence[Trial], *, norm: Level, resamples: int, seed: int) -> Measured:
    """Measure a set of answers.

    Args:
        trials: at least one.
        norm: the level of wholly coherent answers to the same questions (`norm_of`).
        resamples: resamplings of the questions for the intervals.
        seed: of the resamplings.

    Raises:
        InputError: there are no trials.
    """
    if not trials:
        raise InputError("there are no answers to measure (expected at least one trial).")
    level = level_of(trials)
    return Measured(
        answers=len(trials),
        trait=mean_interval(by_question(trials, trait_of), resamples=resamples, seed=seed),
        share=mean_interval(by_question(trials, shown_in), resamples=resamples, seed=seed),
        perplexity=level.perplexity,
        distinct_2=level.distinct_2,
        coherence=coherence(level, norm),
        repetition=_repetition(trials),
        judged_coherence=level.judged,
        words=level.words,
        profile=_profile(trials),
    )


def _repetition(trials: Sequence[Trial]) -> float | None:
    known = [trial.repetition for trial in trials if trial.repetition is not None]
    return sum(known) / len(known) if known else None


def _profile(trials: Sequence[Trial]) -> dict[str, float]:
    """Mean of each style feature over the answers that have it."""
    names = sorted({name for trial in trials for name in trial.features})
    profile: dict[str, float] = {}
    for name in names:
        values = [trial.features[name] for trial in trials if name in trial.features]
        profile[name] = sum(values) / len(values)
    return profile
