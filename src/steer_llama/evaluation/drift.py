"""How measures of an answer move over the turns of a conversation.

Steering that is applied at every token also writes into the keys and values that later turns read, so that its effect
may add up (KV-cache contamination, arXiv 2605.10664) or wear off.
"""

from collections.abc import Sequence

import numpy as np

from steer_llama.evaluation.intervals import mean_interval
from steer_llama.records import Drift, DriftSlope, DriftTurn, TurnAnswer


def drift_of(answers: Sequence[TurnAnswer], *, resamples: int, seed: int) -> Drift:
    """Means turn by turn, and slopes conversation by conversation.

    Args:
        answers: unsteered and steered ones of the same conversations.
        resamples: resamplings of the conversations for the intervals.
        seed: of the resamplings.
    """
    names = list(dict.fromkeys(name for answer in answers for name in answer.measures))
    turns = sorted({answer.turn for answer in answers})
    return Drift(
        conversations=len({answer.conversation for answer in answers}),
        turns=tuple(
            DriftTurn(
                turn=turn,
                unsteered={name: _mean(answers, name, turn, steered=False) for name in names},
                steered={name: _mean(answers, name, turn, steered=True) for name in names},
            )
            for turn in turns
        ),
        slopes=tuple(_slope(answers, name, resamples, seed) for name in names),
        answers=tuple(answers),
    )


def _mean(answers: Sequence[TurnAnswer], name: str, turn: int, *, steered: bool) -> float | None:
    values = [answer.measures.get(name) for answer in answers if answer.turn == turn and answer.steered == steered]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _slope(answers: Sequence[TurnAnswer], name: str, resamples: int, seed: int) -> DriftSlope:
    plain, steered = _slopes(answers, name, steered=False), _slopes(answers, name, steered=True)
    differences = {key: steered[key] - plain[key] for key in plain.keys() & steered.keys()}
    unsteered_mean, steered_mean, difference = (
        mean_interval({key: [value] for key, value in slopes.items()}, resamples=resamples, seed=seed)
        for slopes in (plain, steered, differences)
    )
    return DriftSlope(
        measure=name,
        unsteered=unsteered_mean,
        steered=steered_mean,
        difference=difference,
        agree=sum(value * difference.mean > 0 for value in differences.values()),
    )


def _slopes(answers: Sequence[TurnAnswer], name: str, *, steered: bool) -> dict[str, float]:
    """Least-squares slope per turn of each conversation in which at least two turns have a value."""
    slopes: dict[str, float] = {}
    for conversation in sorted({answer.conversation for answer in answers}):
        points = [
            (answer.turn, value)
            for answer in answers
            if answer.conversation == conversation
            and answer.steered == steered
            and (value := answer.measures.get(name)) is not None
        ]
        if len({turn for turn, _ in points}) > 1:
            at, values = np.array(points, dtype=float).T
            slopes[f"{conversation:06}"] = float(np.polyfit(at, values, 1)[0])
    return slopes
