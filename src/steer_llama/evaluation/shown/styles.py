"""The style profile of every test arm: the very features that fidelity is made of, per 100 tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.evaluation.arms import Arms
from steer_llama.evaluation.intervals import mean_interval
from steer_llama.evaluation.profiles import PROFILE, profile_of, profile_scale
from steer_llama.records import Interval, Trial, Verdict

_LABELS = {
    "emoji": "emoji",
    "markdown": "markdown items",
    "length": "length, tokens",
    "punctuation": "punctuation",
    "sentence_words": "words per sentence",
    "exclamations": "exclamation marks",
    "questions": "question marks",
}
_RESAMPLES, _SEED = 1000, 0


@dataclass(frozen=True)
class StyleRow:
    """One feature."""

    label: str
    unit: float
    """What counts as a difference of 1 in the distance from the source's style."""
    values: Mapping[str, Interval]
    """By arm; every question counts the same. Marks are per 100 tokens."""

    def gap(self, arm: str) -> Interval | None:
        """The arm's value minus the source's mean, in units of the distance."""
        own, source = self.values.get(arm), self.values.get("source")
        if own is None or source is None or not own.n or not source.n:
            return None
        mean, low, high = ((value - source.mean) / self.unit for value in (own.mean, own.low, own.high))
        return Interval(mean=mean, low=low, high=high, n=own.n)


def style_rows(verdict: Verdict, trials: Sequence[Trial]) -> tuple[StyleRow, ...]:
    """One row a feature, in the order of the profile; none where no answer to a test question was measured."""
    answers = Arms(trials, verdict.winner, wanted=verdict.wanted, resamples=0, seed=_SEED).answers
    scale = profile_scale(answers["source"], answers["unsteered"])
    grouped: dict[str, dict[str, list[tuple[float, ...] | None]]] = {}
    for arm in (arm.arm for arm in verdict.arms):
        for trial in answers[arm]:  # type: ignore[index]
            grouped.setdefault(arm, {}).setdefault(trial.question, []).append(profile_of(trial))
    if not any(profile for by in grouped.values() for profiles in by.values() for profile in profiles):
        return ()
    rows = []
    for place, name in enumerate(PROFILE):
        values = {}
        for arm, by_question in grouped.items():
            of_feature = {
                question: [None if profile is None else profile[place] for profile in profiles]
                for question, profiles in by_question.items()
            }
            values[arm] = mean_interval(of_feature, resamples=_RESAMPLES, seed=_SEED)
        rows.append(StyleRow(_LABELS[name], scale.unit_F[place], values))
    return tuple(rows)


def feature_rows(verdict: Verdict) -> list[tuple[str, list[float | None]]]:
    """All measured features of the test arms, per 100 words; those in which source and target differ most first."""
    profiles = {arm.arm: arm.measured.profile for arm in verdict.arms}
    names = sorted({name for profile in profiles.values() for name in profile})
    plain, source = profiles.get("unsteered", {}), profiles.get("source", {})

    def contrast(name: str) -> float:
        first, second = plain.get(name, 0.0), source.get(name, 0.0)
        return abs(first - second) / (abs(first) + abs(second) or 1.0)

    rows = sorted(names, key=lambda name: (-contrast(name), name))
    return [(name.replace("_", " "), [arm.measured.profile.get(name) for arm in verdict.arms]) for name in rows]
