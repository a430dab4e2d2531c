"""How far several vectors get into each other's way: what each does to every trait, alone and together.

Everything is paired by question, with 95% intervals over questions (`evaluation.intervals`).

Shapes: D width, Q questions, R resamplings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.evaluation.intervals import Grouped, mean_interval, question_means
from steer_llama.records import Interval
from steer_llama.records.tuned import Additivity, Cosine, Effect, Interference, Kept

Scores = Mapping[str, Grouped]
"""Trait (by its vector's name) → question → trait scores."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Performance:
    """The scores of a combination of vectors and of its parts; every vector of it is a trait too."""

    strengths: Mapping[str, float]
    """The combination."""
    unsteered: Scores
    together: Scores
    alone: Mapping[str, Scores]
    """Each vector by itself, at its strength in the combination."""
    without: Mapping[str, Scores]
    """The combination without that vector."""


def interference(performance: Performance, cosines: Sequence[Cosine], *, resamples: int, seed: int) -> Interference:
    """The matrix of single effects, the gap to their sum, and what is kept of each vector's own effect.

    Args:
        performance: the scores.
        cosines: of the directions (`cosines_of`).
        resamples: resamplings of the questions.
        seed: of the resamplings.
    """
    plain, together, alone = performance.unsteered, performance.together, performance.alone

    def interval(values: Mapping[str, float]) -> Interval:
        return mean_interval({question: [value] for question, value in values.items()}, resamples=resamples, seed=seed)

    effects = tuple(
        Effect(vector=vector, trait=trait, points=interval(_minus(scores[trait], plain[trait])))
        for vector, scores in alone.items()
        for trait in plain
    )
    additivity = []
    for trait in plain:
        whole = _minus(together[trait], plain[trait])
        singles = [_minus(scores[trait], plain[trait]) for scores in alone.values()]
        shared = set(whole).intersection(*singles)
        added = {question: sum(single[question] for single in singles) for question in shared}
        gap = {question: whole[question] - added[question] for question in shared}
        additivity.append(
            Additivity(trait=trait, together=interval(whole), added_up=interval(added), gap=interval(gap))
        )
    kept = []
    for vector, scores in alone.items():
        own = _minus(scores[vector], plain[vector])
        company = _minus(together[vector], performance.without[vector][vector])
        share = _ratio(company, own, resamples, seed)
        kept.append(Kept(vector=vector, alone=interval(own), in_company=interval(company), share=share))
    return Interference(
        strengths=dict(performance.strengths),
        cosines=tuple(cosines),
        effects=effects,
        additivity=tuple(additivity),
        kept=tuple(kept),
    )


def cosines_of(directions: Mapping[str, tuple[int, Mapping[int, npt.ArrayLike]]]) -> list[Cosine]:
    """The cosines of every two vectors at the layers that they are used at.

    Args:
        directions: by name: the layer that the vector is used at, and its directions (D) by layer; where one has no
            direction at the other's layer, or one of zeros, there is no cosine there.
    """
    names, found = list(directions), []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            (own, of_first), (other, of_second) = directions[first], directions[second]
            for layer in sorted({own, other}):
                if layer not in of_first or layer not in of_second:
                    continue
                cosine = _cosine(np.asarray(of_first[layer], np.float64), np.asarray(of_second[layer], np.float64))
                if cosine is not None:
                    found.append(Cosine(first=first, second=second, layer=layer, cosine=cosine))
    return found


def _cosine(first_D: Floats, second_D: Floats) -> float | None:
    norms = float(np.linalg.norm(first_D) * np.linalg.norm(second_D))
    return float(first_D @ second_D) / norms if norms else None


def _minus(values: Grouped, baseline: Grouped) -> dict[str, float]:
    """The difference of the means question by question, where both have one."""
    first, second = question_means(values), question_means(baseline)
    return {question: first[question] - second[question] for question in first if question in second}


def _ratio(above: Mapping[str, float], below: Mapping[str, float], resamples: int, seed: int) -> Interval | None:
    """The ratio of the means over the questions that both have; ``None`` where the interval of the lower holds 0."""
    questions = sorted(above.keys() & below.keys())
    if not questions:
        return None
    above_Q, below_Q = (np.array([part[question] for question in questions]) for part in (above, below))
    drawn_RQ = np.random.default_rng(seed).integers(0, len(questions), size=(resamples, len(questions)))
    above_R, below_R = above_Q[drawn_RQ].mean(axis=1), below_Q[drawn_RQ].mean(axis=1)
    low, high = np.quantile(below_R, (0.025, 0.975))
    if low <= 0 <= high:
        return None
    # A few resamplings may still come near 0; quantiles do not mind how large their ratios are.
    ratio_R = above_R[below_R != 0] / below_R[below_R != 0]
    least, most = np.quantile(ratio_R, (0.025, 0.975))
    mean = float(above_Q.mean() / below_Q.mean())
    return Interval(mean=mean, low=float(least), high=float(most), n=len(questions))
