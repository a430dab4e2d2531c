"""The verdict: the winner of the dev questions, confirmed once on the test questions."""

from collections.abc import Sequence
from typing import Literal

from steer_llama.evaluation.arms import Arms
from steer_llama.evaluation.choose import Choice, choose_winner
from steer_llama.evaluation.objections import objections_to
from steer_llama.evaluation.wanted import Wanted, surely
from steer_llama.evaluation.winning import Objective
from steer_llama.evaluation.wording import Confirmation, say
from steer_llama.records import TestArm, Trial, Verdict

PROMPTS: tuple[Literal["prompted", "examples"], ...] = ("prompted", "examples")
"""Arms that need no steering."""


def judge_sweep(
    trials: Sequence[Trial],
    *,
    trait: str,
    metric: str,
    model: str,
    source_name: str,
    target_name: str,
    wanted: Wanted,
    min_coherence: float,
    bootstrap: int,
    seed: int,
    objective: Objective = "fidelity",
) -> Verdict:
    """Choose on the dev trials, confirm on the test trials, and say what that means.

    Args:
        trials: of both splits; arms of the test split may be missing.
        trait: the trait's name.
        metric: the measured feature that stands for it.
        model: what was steered.
        source_name: the arm whose style is wanted.
        target_name: the arm that gets it.
        wanted: whether the trait score is to rise or to fall.
        min_coherence: coherence score (0–100) that a winner must reach, on dev and on test questions.
        bootstrap: resamplings of the questions for the intervals.
        seed: of the resamplings.
        objective: what the winner is chosen by, and what has to be confirmed.

    Raises:
        InputError: there are no unsteered answers to dev questions, or none of the source where fidelity is asked for.
    """
    choice = choose_winner(
        trials, wanted=wanted, min_coherence=min_coherence, bootstrap=bootstrap, seed=seed, objective=objective
    )
    arms = Arms(trials, choice.winner, wanted=wanted, resamples=bootstrap, seed=seed)
    measured = arms.measured(source_name, target_name)
    confirmation = Confirmation(
        arms={arm.arm: arm for arm in measured},
        against={comparison.against: comparison for comparison in arms.comparisons()},
        metric=metric,
        wanted=wanted,
        objective=objective,
    )
    objections = objections_to(choice, confirmation, min_coherence)
    better = _better_prompt(confirmation)
    random = confirmation.against.get("random")
    return Verdict(
        trait=trait,
        metric=metric,
        model=model,
        source_name=source_name,
        target_name=target_name,
        wanted=wanted,
        unsteered=choice.unsteered,
        conditions=choice.conditions,
        winner=choice.winner,
        objective=objective,
        rule=choice.rule,
        min_coherence=min_coherence,
        arms=measured,
        over_random=random.trait if random else None,
        comparisons=tuple(confirmation.against.values()),
        decision=_decide(choice, objections, better),
        sentence=say(choice, confirmation, objections, better),
    )


def _decide(choice: Choice, objections: Sequence[str], better: str | None) -> Literal["use", "prompt", "no"]:
    if objections or choice.winner is None:
        return "no"
    return "prompt" if better else "use"


def _better_prompt(seen: Confirmation) -> str | None:
    """Which of the prompts goes further for certain and is not clearly less coherent; of two the one that goes further.

    Further is nearer to the source's style, or in the trait score, as the objective says.
    """
    steered = seen.arms.get("steered")
    further: list[tuple[float, str]] = []
    for name in PROMPTS:
        comparison = seen.against.get(name)
        if comparison is None or steered is None:
            continue
        # Steered minus prompted: the prompt goes further where that lies on the unwanted side of 0.
        lead = comparison.closed if seen.objective == "fidelity" else comparison.trait
        behind: Wanted = "more" if seen.objective == "trait" and seen.wanted == "less" else "less"
        if lead is not None and surely(lead, behind) and _as_coherent(seen.arms[name], steered):
            further.append((abs(lead.mean), name))
    return max(further)[1] if further else None


def _as_coherent(prompted: TestArm, steered: TestArm) -> bool:
    """Whether the prompted answers are not clearly less coherent than the steered, counted and in a judge's eyes."""
    counted = prompted.coherence_interval
    if counted is None or steered.measured.coherence is None or counted.high < steered.measured.coherence:
        return False
    theirs, ours = prompted.judged_interval, steered.judged_interval
    return theirs is None or ours is None or theirs.high >= ours.mean
