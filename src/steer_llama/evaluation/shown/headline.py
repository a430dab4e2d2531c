"""The first screen: the decision, and the few figures that it rests on."""

import math
from dataclasses import dataclass

from steer_llama.evaluation.shown.answers import closest_condition, measure_shown
from steer_llama.evaluation.shown.effects import Effects
from steer_llama.evaluation.shown.numerals import NONE, between, counted, number
from steer_llama.records import AntiSteered, Fidelity, Interval, Measured, TestArm, Verdict

DECISIONS = {"use": "Use it", "prompt": "Prompt instead", "no": "Do not use it"}


@dataclass(frozen=True)
class Meter:
    """One large figure."""

    label: str
    value: str
    unit: str
    note: str
    """Its interval."""
    beside: str = ""
    """What to hold it against."""
    scale: tuple[float, float, float] | None = None
    """Mean and bounds in percent of a bar; ``None`` where there is no bar to draw."""
    arm: str = "steered"
    warning: bool = False


@dataclass(frozen=True)
class Headline:
    """What stands on the first screen in words."""

    decision: str
    first: str
    """The sentence's first figure, or its reasons."""
    rest: str
    meters: tuple[Meter, ...]


def headline(verdict: Verdict, effects: Effects | None) -> Headline:
    """The verdict's own sentence, taken apart, and the meters."""
    head, colon, tail = verdict.sentence.partition(":")
    if not colon or len(head) > 30:
        head, tail = DECISIONS[verdict.decision], verdict.sentence
    # Figures follow the first semicolon where it is confirmed, and the reasons' full stop where it is not.
    first, cut, rest = tail.strip().partition("; " if verdict.decision == "use" else ". ")
    first = f"{first.rstrip('.')}." if cut or not first.endswith(".") else first
    return Headline(head.strip(), _capital(first), _capital(rest), tuple(_meters(verdict, effects)))


def _meters(verdict: Verdict, effects: Effects | None) -> list[Meter]:
    arms = {arm.arm: arm for arm in verdict.arms}
    steered = arms.get("steered")
    if steered is None:
        return _of_dev(verdict)
    meters = []
    if steered.fidelity is not None:
        meters.append(_closed(steered.fidelity, arms))
    meters.append(_trait(verdict, steered.measured, {name: arm.measured for name, arm in arms.items()}))
    meters.append(_coherence(verdict, steered))
    if effects is not None:
        meters.append(_effects(effects))
    elif steered.anti_steered is not None:
        meters.append(_wrong_way(steered.anti_steered))
    return meters


def _of_dev(verdict: Verdict) -> list[Meter]:
    """Nothing was confirmed: what the dev questions say."""
    plain = {"unsteered": verdict.unsteered}
    closest = closest_condition(verdict)
    if closest is None:
        return [_trait(verdict, verdict.unsteered, {}, arm="unsteered", where=", unsteered (dev questions)")]
    where = " (dev questions)"
    meters = [] if closest.fidelity is None else [_closed(closest.fidelity, {}, where)]
    meters.append(_trait(verdict, closest.measured, plain, where=where))
    if closest.measured.coherence is not None:
        score = closest.measured.coherence
        note = f"minimum {verdict.min_coherence:g}"
        low = score < verdict.min_coherence
        meters.append(Meter("coherence" + where, number(score, 0), " of 100", note, scale=(score,) * 3, warning=low))
    return meters


def _closed(fidelity: Fidelity, arms: dict[str, TestArm], where: str = "") -> Meter:
    others = [
        f"{said} {number(100 * arm.fidelity.closed.mean)}%"
        for name, said in (("random", "random directions"), ("prompted", "a prompt"), ("examples", "examples"))
        if (arm := arms.get(name)) and arm.fidelity and arm.fidelity.closed.n
    ]
    return _meter("of the style gap closed" + where, fidelity.closed, 100, "%", ", ".join(others))


def _trait(
    verdict: Verdict, own: Measured, others: dict[str, Measured], *, arm: str = "steered", where: str = ""
) -> Meter:
    shares = measure_shown(verdict) == "share"
    metric = verdict.metric.replace("_", " ")

    def level(measured: Measured) -> str:
        interval = measured.share if shares else measured.trait
        return f"{number((100 if shares else 1) * interval.mean)}{'%' if shares else ''}" if interval.n else "unscored"

    said = (("unsteered", "unsteered"), ("source", verdict.source_name))
    beside = ", ".join(f"{word} {level(others[name])}" for name, word in said if name in others)
    if shares:
        return _meter(f"of the answers with {metric}{where}", own.share, 100, "%", beside, arm)
    return _meter(f"trait score, {metric}{where}", own.trait, 1, " of 100", beside, arm)


def _coherence(verdict: Verdict, steered: TestArm) -> Meter:
    beside = f"minimum {verdict.min_coherence:g}"
    if steered.judged_interval is not None:
        beside += f", judged {number(steered.judged_interval.mean, 0)}"
    if steered.coherence_interval is not None:
        low = steered.coherence_interval.high < verdict.min_coherence
        return _meter("coherence kept", steered.coherence_interval, 1, " of 100", beside, warning=low)
    score = steered.measured.coherence
    bar = None if score is None else (score, score, score)
    return Meter("coherence kept", number(score, 0), "" if score is None else " of 100", "", beside, bar)


def _wrong_way(wrong: AntiSteered) -> Meter:
    beside = f"another {number(100 * wrong.tied.mean)}% did not move" if wrong.tied.n else ""
    return _meter("of the answers moved the wrong way", wrong.share, 100, "%", beside)


def _effects(effects: Effects) -> Meter:
    count = len(effects.warnings)
    checks = counted(len(effects.sentences), "check")
    if not count:
        return Meter("side effects", "none", "", f"beyond chance and tolerance, in {checks}")
    return Meter(
        counted(count, "side effect").removeprefix(f"{count} "), str(count), "", f"in {checks}",
        beside="; ".join(_clause(text) for text in effects.warnings), warning=True,
    )  # fmt: skip


def _clause(text: str) -> str:
    """What it is about: the sentence up to its figures."""
    words = text.split(":", maxsplit=1)[0].split(" (", maxsplit=1)[0]
    return words if len(words) <= 90 else words[:89].rstrip() + "…"


def _meter(
    label: str, interval: Interval, scale: float, unit: str, beside: str = "", arm: str = "steered", *,
    warning: bool = False,
) -> Meter:  # fmt: skip
    if not interval.n or not math.isfinite(interval.mean):
        return Meter(label, "unscored", "", "", beside, arm=arm)
    values = [scale * value for value in (interval.mean, interval.low, interval.high)]
    known = [min(100.0, max(0.0, value)) if math.isfinite(value) else math.nan for value in values]
    bar = (known[0], known[1], known[2]) if all(map(math.isfinite, known)) else (known[0],) * 3
    text = number(values[0])
    note = f"{between(interval, scale)}, {counted(interval.n, 'question')}" if text != NONE else ""
    return Meter(label, text, unit, note, beside, bar, arm, warning)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
