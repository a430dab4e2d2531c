"""The verdict: the winner of the dev questions, confirmed once on the test questions."""

from collections.abc import Sequence

from steer_llama.evaluation.choose import Choice, Wanted, choose_winner, sign
from steer_llama.evaluation.coherence import coherence_interval, level_of, norm_of
from steer_llama.evaluation.intervals import paired_difference_interval
from steer_llama.evaluation.measured import by_question, measure, shown_in, trait_of
from steer_llama.evaluation.wording import Confirmation, points, say
from steer_llama.records import Condition, Interval, TestArm, Trial, Verdict

MIN_QUESTIONS = 6
"""Test questions below which nothing counts as confirmed.

An interval lies beyond 0 at the latest when all differences have one sign; by chance that happens once in 2^(n−1)
times, which is less often than 1 in 20 only from 6 questions on.
"""

_ARMS = ("unsteered", "steered", "random", "source", "prompted")


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

    Raises:
        InputError: there are no unsteered answers to dev questions.
    """
    choice = choose_winner(trials, wanted=wanted, min_coherence=min_coherence, bootstrap=bootstrap, seed=seed)
    answers = _test_answers(trials, choice.winner)
    labels = _labels(source_name, target_name, answers)
    arms = tuple(_arm(name, labels[name], answers, bootstrap, seed) for name in _ARMS if answers[name])
    confirmation = Confirmation(
        arms={arm.arm: arm for arm in arms},
        over_random=_trait_difference(answers["steered"], answers["random"], bootstrap, seed),
        prompted_over_steered=_trait_difference(answers["prompted"], answers["steered"], bootstrap, seed),
        metric=metric,
        wanted=wanted,
    )
    objections = _objections(choice, confirmation, min_coherence)
    prompt_is_better = _prompt_is_better(confirmation)
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
        rule=choice.rule,
        min_coherence=min_coherence,
        arms=arms,
        over_random=confirmation.over_random,
        decision="no" if objections else "prompt" if prompt_is_better else "use",
        sentence=say(choice, confirmation, objections, prompt_is_better=prompt_is_better),
    )


def _objections(choice: Choice, seen: Confirmation, min_coherence: float) -> list[str]:
    """Why steering is not confirmed, each as a clause; empty where it is."""
    if choice.winner is None:
        return [choice.rule[:1].lower() + choice.rule[1:].rstrip(".")]
    steered = seen.arms.get("steered")
    if steered is None or steered.lift_trait is None:
        return ["the winner of the dev questions has not been tried on the test questions"]
    objections = []
    lift, over_random, coherence = steered.lift_trait, seen.over_random, steered.coherence_interval
    if lift.n < MIN_QUESTIONS:
        objections.append(f"{lift.n} scored test questions are too few to tell (at least {MIN_QUESTIONS})")
    elif not _beyond(lift, seen.wanted):
        objections.append(f"the trait score's change on the test questions ({points(lift)}) may be chance")
    if over_random is None:
        objections.append("it was not compared with random directions")
    elif not _beyond(over_random, seen.wanted):
        objections.append(
            "it is not told apart from random directions of the same norm "
            f"(trait score {points(over_random)} against them)"
        )
    if coherence is None:
        objections.append("the coherence of the steered answers could not be measured")
    elif coherence.high < min_coherence:
        objections.append(
            f"coherence on the test questions is {coherence.mean:.0f} (95% interval {coherence.low:.0f} to "
            f"{coherence.high:.0f}), below the minimum of {min_coherence:g}"
        )
    return objections


def _prompt_is_better(seen: Confirmation) -> bool:
    """Whether a prompt moves the trait further for certain, and is not clearly less coherent."""
    difference = seen.prompted_over_steered
    if difference is None or not _beyond(difference, seen.wanted):
        return False
    prompted, steered = seen.arms["prompted"].coherence_interval, seen.arms["steered"].measured.coherence
    return prompted is not None and steered is not None and prompted.high >= steered


def _beyond(interval: Interval, wanted: Wanted) -> bool:
    """Whether the whole interval lies on the wanted side of 0."""
    return min(sign(wanted) * interval.low, sign(wanted) * interval.high) > 0


def _test_answers(trials: Sequence[Trial], winner: Condition | None) -> dict[str, list[Trial]]:
    """The test trials of each arm; steered and random ones only at the winner's layer and strength."""
    answers: dict[str, list[Trial]] = {name: [] for name in _ARMS}
    for trial in trials:
        if trial.split != "test":
            continue
        if trial.arm in {"steered", "random"} and (
            winner is None or trial.layer not in {None, winner.layer} or trial.strength not in {None, winner.strength}
        ):
            continue
        answers[trial.arm].append(trial)
    return answers


def _labels(source_name: str, target_name: str, answers: dict[str, list[Trial]]) -> dict[str, str]:
    directions = len({trial.direction for trial in answers["random"]})
    return {
        "unsteered": f"{target_name}, unsteered",
        "steered": f"{target_name}, steered",
        "random": f"{target_name}, {directions} random direction{'s' * (directions != 1)}",
        "source": f"{source_name} (source)",
        "prompted": f"{target_name}, prompted",
    }


def _arm(name: str, label: str, answers: dict[str, list[Trial]], resamples: int, seed: int) -> TestArm:
    plain, own = answers["unsteered"], answers[name]
    if not plain:
        # Without the unsteered there is no norm, and "as coherent as itself" would say nothing.
        measured = measure(own, norm=level_of(own), resamples=resamples, seed=seed)
        return TestArm(arm=name, label=label, measured=measured.model_copy(update={"coherence": None}))
    measured = measure(own, norm=norm_of(plain, answers["source"]), resamples=resamples, seed=seed)
    if name == "unsteered":
        return TestArm(arm=name, label=label, measured=measured)
    share = paired_difference_interval(
        by_question(own, shown_in), by_question(plain, shown_in), resamples=resamples, seed=seed
    )
    return TestArm(
        arm=name,
        label=label,
        measured=measured,
        lift_share=share if share.n else None,
        lift_trait=_trait_difference(own, plain, resamples, seed),
        coherence_interval=coherence_interval(own, plain, answers["source"], resamples=resamples, seed=seed),
    )


def _trait_difference(first: list[Trial], second: list[Trial], resamples: int, seed: int) -> Interval | None:
    """Trait score of the first minus the second's on the same questions; ``None`` where they share no scored one."""
    interval = paired_difference_interval(
        by_question(first, trait_of), by_question(second, trait_of), resamples=resamples, seed=seed
    )
    return interval if interval.n else None
