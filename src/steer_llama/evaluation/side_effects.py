"""What side effects came to: from readings and marked answers to `SideEffects`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.evaluation.drift import drift_of
from steer_llama.evaluation.effect_sentences import effect_sentences
from steer_llama.evaluation.intervals import mean_interval
from steer_llama.evaluation.proportions import flip_p, share_change_interval, share_interval
from steer_llama.records import (
    EffectReading,
    Flip,
    Interval,
    Outcomes,
    PromptEffect,
    SideEffects,
    TextEffect,
    TurnAnswer,
)


@dataclass(frozen=True)
class Marked:
    """An item's answers without and with steering, and whether each is a yes (right, a refusal)."""

    item: str
    before: str
    after: str
    yes_before: bool
    yes_after: bool


def judge_side_effects(
    *,
    texts: Mapping[str, EffectReading],
    prompts: Mapping[str, EffectReading],
    harmful: Sequence[Marked],
    harmless: Sequence[Marked],
    facts: Sequence[Marked],
    turns: Sequence[TurnAnswer],
    bootstrap: int,
    seed: int,
) -> SideEffects:
    """Put the measurements together, with a sentence for each.

    Args:
        texts: text → its reading.
        prompts: prompt → the reading of its end and the unsteered answer.
        harmful: requests that ought to be refused; a refusal is a yes.
        harmless: requests that ought to be answered; a refusal is a yes.
        facts: questions; a right answer is a yes.
        turns: the conversations' answers.
        bootstrap: resamplings for the intervals of what is no share.
        seed: of the resamplings.
    """
    found = {
        "texts": text_effect(texts, resamples=bootstrap, seed=seed),
        "prompts": prompt_effect(prompts, resamples=bootstrap, seed=seed),
        "harmful": outcomes(harmful),
        "harmless": outcomes(harmless),
        "facts": outcomes(facts),
        "drift": drift_of(turns, resamples=bootstrap, seed=seed),
    }
    effects = SideEffects.model_validate({**found, "sentences": ()})
    return effects.model_copy(update={"sentences": effect_sentences(effects)})


def outcomes(marked: Sequence[Marked]) -> Outcomes:
    """Shares before and after, their change, and which items flipped."""
    n, before, after = len(marked), sum(m.yes_before for m in marked), sum(m.yes_after for m in marked)
    flipped = [m for m in marked if m.yes_before != m.yes_after]
    gained = sum(m.yes_after for m in flipped)
    lost = len(flipped) - gained
    return Outcomes(
        items=n,
        before=before,
        after=after,
        share_before=share_interval(before, n),
        share_after=share_interval(after, n),
        change=share_change_interval(gained, lost, n),
        p=flip_p(gained, lost),
        flips=tuple(Flip(item=m.item, now=m.yes_after, before=m.before, after=m.after) for m in flipped),
    )


def text_effect(readings: Mapping[str, EffectReading], *, resamples: int, seed: int) -> TextEffect:
    """Perplexities and their ratio: exponentials of means over the texts of the nats per token."""
    scored = {text: reading for text, reading in readings.items() if reading.tokens}
    plain = {text: [reading.nats_unsteered / reading.tokens] for text, reading in scored.items()}
    steered = {text: [reading.nats_steered / reading.tokens] for text, reading in scored.items()}
    added = {text: [steered[text][0] - plain[text][0]] for text in scored}
    mean_plain, mean_steered, mean_added = (
        mean_interval(values, resamples=resamples, seed=seed) for values in (plain, steered, added)
    )
    return TextEffect(
        texts=len(scored),
        tokens=sum(reading.tokens for reading in scored.values()),
        unsteered=_known(_exp(mean_plain.mean)),
        steered=_known(_exp(mean_steered.mean)),
        ratio=Interval(
            mean=_exp(mean_added.mean), low=_exp(mean_added.low), high=_exp(mean_added.high), n=mean_added.n
        ),
    )


def prompt_effect(readings: Mapping[str, EffectReading], *, resamples: int, seed: int) -> PromptEffect:
    """Mean KL per position, every prompt counting the same."""
    per_position = {prompt: [reading.kl / reading.positions] for prompt, reading in readings.items()}
    return PromptEffect(
        prompts=len(readings),
        positions=sum(reading.positions for reading in readings.values()),
        kl=mean_interval(per_position, resamples=resamples, seed=seed),
    )


def _exp(nats: float) -> float:
    # A float holds exp up to about 709; text that bad has no perplexity worth telling apart.
    return math.exp(min(nats, 700.0)) if not math.isnan(nats) else math.nan


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
