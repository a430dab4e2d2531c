"""The verdict in a plain sentence or two, with the figures that it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.evaluation.choose import Choice, Wanted
from steer_llama.records import Interval, Measured, TestArm


@dataclass(frozen=True)
class Confirmation:
    """What the test questions say."""

    arms: Mapping[str, TestArm]
    over_random: Interval | None
    """Trait score of the steered minus that of the random directions, in points."""
    prompted_over_steered: Interval | None
    """Trait score of the prompted minus that of the steered, in points."""
    metric: str
    wanted: Wanted


def say(choice: Choice, seen: Confirmation, objections: Sequence[str], *, prompt_is_better: bool) -> str:
    """The verdict's sentence: what to do, then the figures; every objection is named."""
    if choice.winner is None:
        return f"Do not use it: {objections[0]}."
    where = f"at layer {choice.winner.layer}, strength {choice.winner.strength:g}"
    steered, plain = seen.arms.get("steered"), seen.arms.get("unsteered")
    if steered is None or plain is None or steered.lift_trait is None:
        return f"Not confirmed: {objections[0]} ({where})."
    figures = f"{where} {_figures(seen, steered, plain, steered.lift_trait)}"
    if objections:
        return f"Do not use it: {'; '.join(objections)}. {figures[:1].upper()}{figures[1:]}."
    if prompt_is_better and seen.prompted_over_steered is not None:
        difference = points(seen.prompted_over_steered)
        return (
            f"Prompt instead: steering works, but a prompt goes further without costing more coherence "
            f"(trait score {difference} against steering). {figures[:1].upper()}{figures[1:]}."
        )
    return f"Use it: {figures}."


def by_share(lift_share: Interval | None, lift_trait: Interval | None) -> bool:
    """Whether the share of answers tells the story: not where it hardly moves while the trait score does.

    Every answer has words, say, however long it is: there the share stays at 100% and the score moves.
    """
    if lift_share is None:
        return False
    share_moves = lift_share.low > 0 or lift_share.high < 0
    trait_moves = lift_trait is not None and (lift_trait.low > 0 or lift_trait.high < 0)
    return share_moves or not trait_moves


def _figures(seen: Confirmation, steered: TestArm, plain: TestArm, lift_trait: Interval) -> str:
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
    if prompted := seen.arms.get("prompted"):
        score = prompted.measured.coherence
        parts.append(
            f"a prompt reaches {level(prompted.measured)}" + ("" if score is None else f" at coherence {score:.0f}")
        )
    if cost := _cost(steered.measured, plain.measured):
        parts.append(cost)
    return "; ".join(parts)


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


def _number(value: float) -> str:
    """Whole from 10 on and one decimal below, so that a bound near 0 shows its side; with a real minus sign."""
    text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}"
    text = text.removesuffix(".0") if "." in text else text
    return "0" if text == "-0" else text.replace("-", "−")
