"""Whether successive halving finds what the full grid finds, for a part of its tokens: replayed on the grid's trials.

No answer is written for it: the replay takes each condition's answers out of the full grid when halving would ask.
"""

from collections.abc import Sequence

from steer_llama.evaluation import Objective, Wanted
from steer_llama.evaluation.replay import Replay, replay
from steer_llama.records import Spot, Trial

_REGRET, _TOKENS = 0.02, 0.4


def replay_on(trials: Sequence[Trial], wanted: Wanted, min_coherence: float, objective: Objective) -> Replay:
    """What halving finds on a full grid's scored trials."""
    return replay(trials, wanted=wanted, min_coherence=min_coherence, objective=objective)


def met(replayed: Replay) -> bool:
    """Where nothing can win, halving has to find nothing too."""
    return replayed.tokens <= _TOKENS and (
        replayed.winner is None if replayed.best is None else replayed.regret <= _REGRET
    )


def line(name: str, replayed: Replay) -> str:
    """The bar's line of one grid."""
    short = "nothing can win" if replayed.best is None else f"{replayed.regret:.1%} short of the best"
    return (
        f"bar: halving, {name}: found {_shown(replayed.winner)} (the full grid: {_shown(replayed.best)}), {short}, "
        f"wanted <= {_REGRET:.0%}; {replayed.tokens:.0%} of the tokens, wanted <= {_TOKENS:.0%}: "
        f"{'met' if met(replayed) else 'NOT met'}"
    )


def _shown(spot: Spot | None) -> str:
    return "nothing" if spot is None else str(spot)
