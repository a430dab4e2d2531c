"""Why steering is not confirmed on the test questions."""

from steer_llama.evaluation.choose import Choice
from steer_llama.evaluation.wanted import Wanted, surely
from steer_llama.evaluation.wording import Confirmation, percent, points
from steer_llama.records import Interval, TestArm

MIN_QUESTIONS = 6
"""Test questions below which nothing counts as confirmed.

An interval lies beyond 0 at the latest when all differences have one sign; by chance that happens once in 2^(n−1)
times, which is less often than 1 in 20 only from 6 questions on.
"""


def objections_to(choice: Choice, seen: Confirmation, min_coherence: float) -> list[str]:
    """Why steering is not confirmed, each as a clause; empty where it is."""
    if choice.winner is None:
        return [choice.rule[:1].lower() + choice.rule[1:].rstrip(".")]
    steered = seen.arms.get("steered")
    if steered is None or (steered.lift_trait is None and seen.objective == "trait"):
        return ["the winner of the dev questions has not been tried on the test questions"]
    of_objective = _to_fidelity(seen, steered) if seen.objective == "fidelity" else _to_trait(seen, steered)
    return [*of_objective, *_to_coherence(steered, min_coherence)]


def _to_trait(seen: Confirmation, steered: TestArm) -> list[str]:
    lift = steered.lift_trait
    assert lift is not None, "checked by the caller"
    objections = []
    if lift.n < MIN_QUESTIONS:
        objections.append(f"{lift.n} scored test questions are too few to tell (at least {MIN_QUESTIONS})")
    elif not surely(lift, seen.wanted):
        objections.append(f"the trait score's change on the test questions ({points(lift)}) may be chance")
    random = seen.against.get("random")
    if random is None or random.trait is None:
        objections.append("it was not compared with random directions")
    elif not surely(random.trait, seen.wanted):
        objections.append(
            "it is not told apart from random directions of the same norm "
            f"(trait score {points(random.trait)} against them)"
        )
    return objections


def _to_fidelity(seen: Confirmation, steered: TestArm) -> list[str]:
    if steered.fidelity is None:
        return ["there are no answers of the source to the test questions, or none of the unsteered target"]
    closed = steered.fidelity.closed
    if not closed.n:
        return ["on the test questions the source's style is not told apart from the unsteered target's"]
    objections = []
    if closed.n < MIN_QUESTIONS:
        objections.append(f"{closed.n} test questions are too few to tell (at least {MIN_QUESTIONS})")
    elif not surely(closed):
        objections.append(
            "that it comes nearer to the source's style on the test questions "
            f"({percent(closed)} of the distance closed) may be chance"
        )
    random = seen.against.get("random")
    if random is None or random.closed is None:
        objections.append("it was not compared with random directions")
    elif not surely(random.closed):
        objections.append(
            "it is not told apart from random directions of the same norm "
            f"({percent(random.closed, difference=True)} of the distance against them)"
        )
    turned = seen.against.get("turned")
    if turned is not None and turned.closed is not None and not surely(turned.closed):
        objections.append(
            "it is not told apart from the same vector turned round "
            f"({percent(turned.closed, difference=True)} of the distance against it)"
        )
    other_way: Wanted = "less" if seen.wanted == "more" else "more"
    if steered.lift_trait is not None and surely(steered.lift_trait, other_way):
        objections.append(f"the trait score moves the wrong way ({points(steered.lift_trait)})")
    return objections


def _to_coherence(steered: TestArm, min_coherence: float) -> list[str]:
    if steered.coherence_interval is None:
        return ["the coherence of the steered answers could not be measured"]
    objections = []
    if steered.coherence_interval.high < min_coherence:
        objections.append(_below("coherence on the test questions", steered.coherence_interval, min_coherence))
    judged = steered.judged_interval
    if judged is not None and judged.high < min_coherence:
        objections.append(_below("the judge's coherence, in percent of the norm's,", judged, min_coherence))
    return objections


def _below(what: str, interval: Interval, minimum: float) -> str:
    return (
        f"{what} is {interval.mean:.0f} (95% interval {interval.low:.0f} to {interval.high:.0f}), below the minimum "
        f"of {minimum:g}"
    )
