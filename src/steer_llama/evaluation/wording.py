"""The verdict in a plain sentence or two, with the figures that it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.evaluation.choose import Choice
from steer_llama.evaluation.wanted import Wanted
from steer_llama.evaluation.winning import Objective
from steer_llama.records import Comparison, Interval, Measured, TestArm

_PROMPTS = {"prompted": "a prompt", "examples": "a prompt with the source's examples"}


@dataclass(frozen=True)
class Confirmation:
    """What the test questions say."""

    arms: Mapping[str, TestArm]
    against: Mapping[str, Comparison]
    """The steered answers against the other arms, by their names."""
    metric: str
    wanted: Wanted
    objective: Objective


def say(choice: Choice, seen: Confirmation, objections: Sequence[str], better: str | None) -> str:
    """The verdict's sentence: what to do, then the figures; every objection is named.

    Args:
        choice: what the dev questions say.
        seen: what the test questions say.
        objections: why steering is not confirmed; empty where it is.
        better: the arm that needs no steering and goes further, if there is one.
    """
    if choice.winner is None:
        return f"Do not use it: {objections[0]}."
    where = f"at {choice.winner.spot}"
    steered, plain = seen.arms.get("steered"), seen.arms.get("unsteered")
    if steered is None or plain is None or (steered.lift_trait is None and steered.fidelity is None):
        return f"Not confirmed: {objections[0]} ({where})."
    figures = f"{where} {_figures(seen, steered, plain)}"
    if objections:
        return f"Do not use it: {'; '.join(objections)}. {figures[:1].upper()}{figures[1:]}."
    if better:
        return (
            f"Prompt instead: steering works, but {_PROMPTS[better]} goes further without costing more coherence "
            f"({_against(seen, better)} steering). {figures[:1].upper()}{figures[1:]}."
        )
    return f"Use it: {figures}."


def _against(seen: Confirmation, name: str) -> str:
    """The prompt's lead over steering, in the objective's figure."""
    comparison = seen.against[name]
    if seen.objective == "fidelity" and comparison.closed is not None:
        return f"{percent(_turned(comparison.closed), difference=True)} of the distance closed against"
    return "" if comparison.trait is None else f"trait score {points(_turned(comparison.trait))} against"


def _turned(interval: Interval) -> Interval:
    """The difference the other way round."""
    return Interval(mean=-interval.mean, low=-interval.high, high=-interval.low, n=interval.n)


def by_share(lift_share: Interval | None, lift_trait: Interval | None) -> bool:
    """Whether the share of answers tells the story: not where it hardly moves while the trait score does.

    Every answer has words, say, however long it is: there the share stays at 100% and the score moves.
    """
    if lift_share is None:
        return False
    share_moves = lift_share.low > 0 or lift_share.high < 0
    trait_moves = lift_trait is not None and (lift_trait.low > 0 or lift_trait.high < 0)
    return share_moves or not trait_moves


def _figures(seen: Confirmation, steered: TestArm, plain: TestArm) -> str:
    parts = []
    if seen.objective == "fidelity":
        parts += _nearness(seen)
    if steered.lift_trait is not None:
        parts += _trait(seen, steered, plain, steered.lift_trait)
    if steered.anti_steered is not None and steered.anti_steered.share.mean > 0:
        parts.append(f"{100 * steered.anti_steered.share.mean:.0f}% of the answers move the wrong way")
    if cost := _cost(steered.measured, plain.measured):
        parts.append(cost)
    return "; ".join(parts)


def _nearness(seen: Confirmation) -> list[str]:
    """How much of the distance from the source's style is closed, by steering and by everything else."""

    def closed(arm: str) -> Interval | None:
        found = seen.arms.get(arm)
        return found.fidelity.closed if found and found.fidelity and found.fidelity.closed.n else None

    own = closed("steered")
    if own is None:
        return []
    parts = [f"it closes {percent(own)} of the distance from the source's style ({own.n} questions)"]
    for arm, said in (
        ("random", "random directions of the same norm"),
        ("turned", "the vector turned round"),
        *_PROMPTS.items(),
    ):
        if (other := closed(arm)) is not None:
            parts.append(f"{said} {'close' if arm == 'random' else 'closes'} {_number(100 * other.mean)}%")
    return parts


def _trait(seen: Confirmation, steered: TestArm, plain: TestArm, lift_trait: Interval) -> list[str]:
    """How the trait moves, by steering and by everything else."""
    shares, lift, scale = False, lift_trait, 1.0
    if steered.lift_share is not None and by_share(steered.lift_share, lift_trait):
        shares, lift, scale = True, steered.lift_share, 100.0

    def level(measured: Measured) -> str:
        interval = measured.share if shares else measured.trait
        if not interval.n:
            return "an unmeasured level"
        return f"{100 * interval.mean:.0f}%" if shares else f"{interval.mean:.0f}"

    what = f"the share of answers with {seen.metric.replace('_', ' ')}" if shares else "the mean trait score"
    start, end = level(plain.measured), level(steered.measured)
    verb = "rises" if lift.mean > 0 else "falls"
    change = f"stays at {end}" if start == end else f"{verb} from {start} to {end}"
    parts = [f"{what} {change} ({points(lift, scale)}, {lift.n} questions)"]
    if random := seen.arms.get("random"):
        parts.append(f"random directions of the same norm reach {level(random.measured)}")
    if turned := seen.arms.get("turned"):
        parts.append(f"the vector turned round reaches {level(turned.measured)}")
    for arm, said in _PROMPTS.items():
        if prompted := seen.arms.get(arm):
            score = prompted.measured.coherence
            at = "" if score is None else f" at coherence {score:.0f}"
            parts.append(f"{said} reaches {level(prompted.measured)}{at}")
    return parts


def _cost(steered: Measured, plain: Measured) -> str:
    score = "" if steered.coherence is None else f"coherence {steered.coherence:.0f} of 100"
    if steered.perplexity is None or plain.perplexity is None:
        return score
    change = f"perplexity goes from {plain.perplexity:.1f} to {steered.perplexity:.1f}"
    return f"{change} ({score})" if score else change


def points(interval: Interval, scale: float = 1.0) -> str:
    """A difference in points with its interval: ``+67 points, 95% interval 50 to 83``."""
    mean, low, high = (_number(scale * value) for value in (interval.mean, interval.low, interval.high))
    plus = "" if mean.startswith("−") or mean == "0" else "+"
    return f"{plus}{mean} points, 95% interval {low} to {high}"


def percent(interval: Interval, *, difference: bool = False) -> str:
    """A share with its interval: ``62% (95% interval 35 to 81)``; a difference of two has a sign."""
    mean, low, high = (_number(100 * value) for value in (interval.mean, interval.low, interval.high))
    plus = "+" if difference and not mean.startswith("−") and mean != "0" else ""
    return f"{plus}{mean}% (95% interval {low} to {high})"


def _number(value: float) -> str:
    """Whole from 10 on and one decimal below, so that a bound near 0 shows its side; with a real minus sign."""
    text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}"
    text = text.removesuffix(".0") if "." in text else text
    return "0" if text == "-0" else text.replace("-", "−")
