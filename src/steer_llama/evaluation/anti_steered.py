"""Anti-steered answers: a mean that rises may hide answers that moved the other way.

Tan et al. (2024), Analyzing the generalization and reliability of steering vectors, arXiv 2407.12404.
"""

from collections.abc import Sequence

from steer_llama.evaluation.intervals import mean_interval
from steer_llama.evaluation.wanted import Wanted, sign
from steer_llama.records import AntiSteered, Trial


def anti_steered(
    steered: Sequence[Trial], unsteered: Sequence[Trial], *, wanted: Wanted, resamples: int, seed: int
) -> AntiSteered | None:
    """The share of answers whose trait score moved the wrong way, and of those that did not move; over questions.

    Each is held against the unsteered answer to the same question that is the same sample of it (drawn with the same
    seed). Answers of which either is unscored are left out; ``None`` where none is left.
    """
    before = {(trial.question, trial.sample): trial.trait_score for trial in unsteered}
    wrong: dict[str, list[float | None]] = {}
    tied: dict[str, list[float | None]] = {}
    for trial in steered:
        start = before.get((trial.question, trial.sample))
        if start is None or trial.trait_score is None:
            continue
        move = sign(wanted) * (trial.trait_score - start)
        wrong.setdefault(trial.question, []).append(float(move < 0))
        tied.setdefault(trial.question, []).append(float(move == 0))
    if not wrong:
        return None
    return AntiSteered(
        share=mean_interval(wrong, resamples=resamples, seed=seed),
        tied=mean_interval(tied, resamples=resamples, seed=seed),
    )
