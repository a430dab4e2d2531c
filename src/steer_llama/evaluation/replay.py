"""What halving would have found and spent, had it run where the whole grid was answered."""

from collections.abc import Sequence
from dataclasses import dataclass

from steer_llama.errors import InputError
from steer_llama.evaluation.choose import Choice, choose_winner
from steer_llama.evaluation.halving import next_step
from steer_llama.evaluation.wanted import Wanted
from steer_llama.evaluation.winning import Objective, by_fidelity, by_trait
from steer_llama.records import Spot, Trial


@dataclass(frozen=True)
class Replay:
    """Halving against the whole grid."""

    winner: Spot | None
    """What halving chooses."""
    best: Spot | None
    """What the whole grid chooses."""
    tokens: float
    """Tokens of the steered answers that halving asks for over those of the whole grid, 0–1."""
    regret: float
    """By how much the whole grid's best gains more than halving's winner, over what it gains, 0–1; 0 where nothing
    can win. What a condition gains is the distance closed, or points of the trait score the wanted way."""


def replay(trials: Sequence[Trial], *, wanted: Wanted, min_coherence: float, objective: Objective) -> Replay:
    """Run halving on the answers of a whole grid.

    Args:
        trials: unsteered, source and steered ones, in which every condition has answered every dev question; the
            questions are asked in the order in which the unsteered target answered them.
        wanted: whether the trait score is to rise or to fall.
        min_coherence: coherence (0–100) that a winner must reach.
        objective: what the winner is chosen by.

    Raises:
        InputError: an answer of the grid is missing, or there are no unsteered answers to dev questions, or none of the
            source where fidelity is asked for.
    """
    dev = [trial for trial in trials if trial.split == "dev"]
    known = [trial for trial in dev if trial.arm in {"unsteered", "source"}]
    questions = list(dict.fromkeys(trial.question for trial in dev if trial.arm == "unsteered"))
    grid: dict[tuple[Spot, str], list[Trial]] = {}
    for trial in dev:
        if trial.arm == "steered" and trial.spot is not None:
            grid.setdefault((trial.spot, trial.question), []).append(trial)
    spots = sorted({spot for spot, _ in grid})
    if unanswered := [(spot, question) for spot in spots for question in questions if (spot, question) not in grid]:
        raise InputError(
            f"the trials are no whole grid: {len(unanswered)} answers are missing, the first at {unanswered[0][0]} to "
            f"{unanswered[0][1]!r}. Replay a sweep that was run without halving."
        )
    asked: list[Trial] = []
    while pairs := next_step(
        spots, questions, [*known, *asked], wanted=wanted, min_coherence=min_coherence, objective=objective
    ).pairs:
        asked += [trial for pair in pairs for trial in grid[pair]]
    whole, halved = (
        choose_winner(
            [*known, *some], wanted=wanted, min_coherence=min_coherence, bootstrap=1, seed=0, objective=objective
        )
        for some in ([trial for pair in grid.values() for trial in pair], asked)
    )
    gains = _gains(whole, wanted)
    best = max(gains.values(), default=0.0)
    found = gains.get(halved.winner.spot, 0.0) if halved.winner else 0.0
    return Replay(
        winner=halved.winner.spot if halved.winner else None,
        best=whole.winner.spot if whole.winner else None,
        tokens=sum(t.tokens for t in asked) / max(1, sum(t.tokens for pair in grid.values() for t in pair)),
        regret=(best - found) / best if best > 0 else 0.0,
    )


def _gains(choice: Choice, wanted: Wanted) -> dict[Spot, float]:
    """What each condition gains of those that may win."""
    eligible = [condition for condition in choice.conditions if condition.eligible]
    found = (
        by_trait(eligible, choice.unsteered, wanted, "")
        if choice.objective == "trait"
        else by_fidelity(eligible, choice.unsteered, wanted, "", choice.gap)
    )
    return {} if isinstance(found, str) else {condition.spot: gain for gain, condition in found.gains}
