"""What `tune` asks the model: the combinations of a search on dev questions, and the arms on test questions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from steer_llama.chat import Journal
from steer_llama.config import TuneSettings
from steer_llama.evaluation import coherence, level_of, norm_of
from steer_llama.evaluation.fidelity import distance
from steer_llama.evaluation.interference import Performance
from steer_llama.evaluation.profiles import Scale, profile_scale
from steer_llama.evaluation.tuned import Answers, scores_of
from steer_llama.evaluation.tuning import Outcome, Point, Strengths, best, best_alone, fixed_points, search
from steer_llama.progress import Reporter
from steer_llama.records import SplitName, Trial
from steer_llama.records.tuned import TunedTrial
from steer_llama.stages.ensemble import Ensemble, Job, Part
from steer_llama.stages.tune_questions import Asked
from steer_llama.style import Metric
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Given:
    """One vector, where it is used, and what it may be."""

    name: str
    path: Path
    vector: SteeringVector
    layer: int
    metric: Metric
    """The measured feature that stands for its trait."""
    bounds: tuple[float, float]
    """Lowest and highest strength; 0 is between them."""


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    parts: Sequence[Part]
    points: Sequence[Point]
    winner: Point
    recommended: Strengths
    """The vectors' recommendations; for one that has none, where it does best alone."""


@dataclass(frozen=True)
class Dev:
    """What the dev questions' answers are measured against."""

    source: Sequence[Trial]
    unsteered: Sequence[Trial]
    scale: Scale


class Tuner:
    """Searches and confirms; every answer is written once, whoever needs it."""

    def __init__(
        self,
        given: Sequence[Given],
        asked: Asked,
        ensemble: Ensemble,
        settings: TuneSettings,
        journal: Journal,
        known: dict[str, TunedTrial],
        reporter: Reporter,
    ) -> None:
        """``known``: the journal's trials by key."""
        self._given = given
        self._asked = asked
        self._ensemble = ensemble
        self._settings = settings
        self._journal = journal
        self._known = known
        self._reporter = reporter
        self._names = [each.name for each in given]
        self._parts = [Part(each.name, each.vector, each.layer) for each in given]

    def dev(self) -> Dev:
        """The source's and the unsteered target's answers to the dev questions, and the units of their profiles."""
        source = self._ensemble.of_source(self._asked.source, dict.fromkeys(self._asked.dev, "dev"))
        (unsteered,) = self._answers(self._parts, [{}], "dev", "unsteered, dev questions")
        return Dev(source, unsteered, profile_scale(source, unsteered))

    def of_source(self) -> list[Trial]:
        """The source's answers to the test questions."""
        return self._ensemble.of_source(self._asked.source, dict.fromkeys(self._asked.test, "test"))

    def search(self, dev: Dev, null: int | None = None) -> Found:
        """The whole search with the vectors, or with the ``null``-th set of random directions in their place.

        Raises:
            InputError: no combination can win.
        """
        parts, title = self._parts, "dev questions"
        if null is not None:
            first = self._settings.seed + null * len(parts)  # no two directions alike
            parts = [replace(part, direction=first + place) for place, part in enumerate(parts)]
            title = f"{_null_label(null)}, dev questions"
        settings, bounds = self._settings, [each.bounds for each in self._given]
        own = [each.vector.recommended_strength for each in self._given]
        norm, floor = norm_of(dev.unsteered, dev.source), settings.min_coherence
        fixed = fixed_points(bounds, own)
        total = (len(fixed) + 1 + settings.trials) * len(self._asked.dev) * settings.dev_samples
        with self._reporter.task(title, total, "answers") as advance:

            def evaluate(combinations: Sequence[Strengths]) -> list[Outcome]:
                strengths = [self.named(combination) for combination in combinations]
                return [
                    Outcome(distance(answers, dev.source, dev.scale), coherence(level_of(answers), norm))
                    for answers in self._written(parts, strengths, "dev", advance)
                ]

            def measured(combinations: Sequence[Strengths]) -> list[Point]:
                outcomes = evaluate(combinations)
                return [Point(strengths, outcome) for strengths, outcome in zip(combinations, outcomes, strict=True)]

            points = measured(fixed)
            recommended = tuple(
                strength if strength is not None else best_alone(points, place, floor)
                for place, strength in enumerate(own)
            )
            points += measured([recommended] if recommended not in fixed else [])
            points = search(
                evaluate,
                bounds,
                points,
                trials=settings.trials,
                per_round=settings.per_round,
                patience=settings.patience,
                min_coherence=floor,
                sampler=settings.sampler,
                seed=settings.seed,
            )
        return Found(parts, points, best(points, floor), recommended)

    def confirm(self, found: Found, nulls: Sequence[Found]) -> tuple[list[Answers], Performance]:
        """Every arm's answers to the test questions, and those that tell how the vectors interfere."""
        tuned = self.named(found.winner.strengths)
        alone = [best_alone(found.points, place, self._settings.min_coherence) for place in range(len(self._names))]
        best_alones = [{name: strength} if strength else {} for name, strength in zip(self._names, alone, strict=True)]
        recommended = self.named(found.recommended)
        # A vector that is not there interferes with nobody: then the recommended combination tells more.
        whole = tuned if len(tuned) == len(self._names) else recommended
        singles = {name: {name: whole.get(name, 0.0)} for name in self._names}
        others = {name: {other: whole[other] for other in whole if other != name} for name in self._names}
        combinations = [{}, tuned, recommended, *best_alones, *singles.values(), *others.values()]
        written = iter(self._answers(self._parts, combinations, "test", "test questions"))
        answers = [
            Answers("unsteered", "unsteered", {}, next(written)),
            Answers("tuned", "tuned together", tuned, next(written)),
            Answers("recommended", "added as recommended", recommended, next(written)),
        ]
        for name, strengths in zip(self._names, best_alones, strict=True):
            answers.append(Answers("alone", f"{name} alone, at its best", strengths, next(written)))
        metrics = {each.name: each.metric.score for each in self._given}
        performance = Performance(
            strengths=whole,
            unsteered=scores_of(answers[0].trials, metrics),
            together=scores_of(answers[1 if whole is tuned else 2].trials, metrics),
            alone={name: scores_of(next(written), metrics) for name in singles},
            without={name: scores_of(next(written), metrics) for name in others},
        )
        for number, null in enumerate(nulls):
            strengths, label = self.named(null.winner.strengths), _null_label(number)
            (trials,) = self._answers(null.parts, [strengths], "test", f"{label}, test questions")
            answers.append(Answers("null", f"{label}, tuned", strengths, trials))
        return answers, performance

    def named(self, strengths: Strengths) -> dict[str, float]:
        """By the vectors' names, without those that are not used."""
        return {name: strength for name, strength in zip(self._names, strengths, strict=True) if strength}

    def _answers(
        self, parts: Sequence[Part], combinations: Sequence[Mapping[str, float]], split: SplitName, title: str
    ) -> list[list[TunedTrial]]:
        samples, questions = self._asked_of(split)
        with self._reporter.task(title, len(combinations) * len(questions) * samples, "answers") as advance:
            return self._written(parts, combinations, split, advance)

    def _written(
        self,
        parts: Sequence[Part],
        combinations: Sequence[Mapping[str, float]],
        split: SplitName,
        advance: Callable[[int], None],
    ) -> list[list[TunedTrial]]:
        """The answers of each combination to each question, all combinations in the same batches."""
        samples, questions = self._asked_of(split)
        jobs = [
            Job(strengths, split, question, sample)
            for strengths in combinations
            for question in questions
            for sample in range(samples)
        ]
        trials = self._ensemble.run(parts, jobs, self._journal, self._known, advance)
        each = len(questions) * samples
        return [trials[begin : begin + each] for begin in range(0, len(trials), each)]

    def _asked_of(self, split: SplitName) -> tuple[int, tuple[str, ...]]:
        """How many answers to each question, and the questions."""
        if split == "test":
            return self._settings.test_samples, self._asked.test
        return self._settings.dev_samples, self._asked.dev


def _null_label(number: int) -> str:
    return f"random directions {number + 1}"
