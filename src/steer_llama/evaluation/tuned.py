"""A tuned combination, confirmed once on test questions: against nothing, the plain sum, each vector alone, chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from steer_llama.evaluation.coherence import coherence_interval
from steer_llama.evaluation.fidelity import Yardstick, fidelity_on
from steer_llama.evaluation.intervals import Grouped, mean_interval
from steer_llama.evaluation.measured import by_question
from steer_llama.evaluation.objections import MIN_QUESTIONS
from steer_llama.evaluation.profiles import Scale
from steer_llama.records import Interval, Trial
from steer_llama.records.tuned import Margin, TunedArm

Score = Callable[[str], float | None]
"""The trait score of a text, 0–100; ``None`` where it has none."""


@dataclass(frozen=True)
class Answers:
    """One arm of the confirmation."""

    arm: Literal["unsteered", "tuned", "recommended", "alone", "null"]
    label: str
    strengths: Mapping[str, float]
    trials: Sequence[Trial]


def scores_of(trials: Sequence[Trial], metrics: Mapping[str, Score]) -> dict[str, Grouped]:
    """Every trait's scores by question."""

    def valued(score: Score) -> Callable[[Trial], float | None]:
        return lambda trial: score(trial.text)

    return {name: by_question(trials, valued(score)) for name, score in metrics.items()}


def confirm(
    answers: Sequence[Answers],
    source: Sequence[Trial],
    scale: Scale,
    metrics: Mapping[str, Score],
    *,
    resamples: int,
    seed: int,
) -> tuple[tuple[TunedArm, ...], tuple[Margin, ...]]:
    """What every arm came to, and the tuned one against each of the others, on the same resamplings.

    Args:
        answers: to test questions; the first is the unsteered target, the second the tuned combination.
        source: the source's answers to these questions.
        scale: the units of the style profiles (`profile_scale`).
        metrics: the trait scores by the vectors' names.
        resamples: resamplings of the questions.
        seed: of the resamplings.
    """
    plain, tuned = answers[0].trials, answers[1].trials
    yardstick = Yardstick(source, plain, scale, resamples=resamples, seed=seed)
    arms = tuple(
        TunedArm(
            arm=each.arm,
            label=each.label,
            strengths=dict(each.strengths),
            answers=len(each.trials),
            fidelity=fidelity_on(yardstick, each.trials),
            coherence=coherence_interval(each.trials, plain, source, resamples=resamples, seed=seed),
            traits={
                name: mean_interval(scores, resamples=resamples, seed=seed)
                for name, scores in scores_of(each.trials, metrics).items()
            },
        )
        for each in answers
    )
    nearest = yardstick.distance(tuned)
    margins = tuple(
        Margin(over=each.label, distance=(nearest - yardstick.distance(each.trials)).interval())
        for each in answers
        if each.arm != "tuned"
    )
    return arms, margins


def sentence(arms: Sequence[TunedArm], margins: Sequence[Margin], min_coherence: float) -> str:
    """Whether tuning beat the plain sum and the unsteered target, with the intervals."""
    by_arm = {arm.arm: arm for arm in reversed(arms)}
    tuned, plain = by_arm["tuned"], by_arm["unsteered"]
    if not any(tuned.strengths.values()):
        return (
            "Nothing that was tried comes nearer to the source than the unsteered target does on the dev questions, so "
            "no vector is used."
        )
    over = {margin.over: margin.distance for margin in margins}
    told = [
        f"On {over[plain.label].n} test questions the tuned combination {_against(over[plain.label])} "
        f"the unsteered target (distance from the source {_level(tuned)} against {_level(plain)}; "
        f"difference {_figures(over[plain.label])})."
    ]
    if recommended := by_arm.get("recommended"):
        told.append(_against_sum(tuned, recommended, over[recommended.label]))
    nulls = [arm for arm in arms if arm.arm == "null"]
    beaten = [arm for arm in nulls if _surely_below(over[arm.label])]
    if nulls:
        told.append(
            f"It is nearer for certain than {len(beaten)} of {len(nulls)} combinations of random directions that were "
            "tuned in the same way."
        )
    if tuned.coherence is None:
        told.append("Its coherence could not be measured.")
    elif tuned.coherence.mean < min_coherence:
        told.append(
            f"Its coherence on the test questions is {tuned.coherence.mean:.0f} ({tuned.coherence.low:.0f} to "
            f"{tuned.coherence.high:.0f}), below the minimum of {min_coherence:g} that it kept on the dev questions."
        )
    return " ".join(told)


def _against_sum(tuned: TunedArm, recommended: TunedArm, difference: Interval) -> str:
    if tuned.strengths == recommended.strengths:
        return "The tuned strengths are those of the plain sum: tuning found nothing better on the dev questions."
    figures = f"{_level(recommended)} for the sum; difference {_figures(difference)}"
    if difference.n < MIN_QUESTIONS:
        return f"Whether tuning beats the plain sum cannot be told from {difference.n} questions ({figures})."
    if _surely_below(difference):
        return f"Tuning beats the plain sum of the vectors ({figures})."
    if difference.low > 0:
        return f"Tuning is worse than the plain sum of the vectors: what it gained on dev did not hold ({figures})."
    return f"Tuning is not told apart from the plain sum of the vectors ({figures})."


def _against(difference: Interval) -> str:
    if _surely_below(difference):
        return "is nearer to the source's style than"
    if difference.n >= MIN_QUESTIONS and difference.low > 0:
        return "is farther from the source's style than"
    return "is not told apart from"


def _surely_below(difference: Interval) -> bool:
    return difference.n >= MIN_QUESTIONS and difference.high < 0


def _level(arm: TunedArm) -> str:
    return f"{arm.fidelity.distance.mean:.2f}"


def _figures(interval: Interval) -> str:
    return f"{interval.mean:+.2f}, 95% interval {interval.low:+.2f} to {interval.high:+.2f}"
