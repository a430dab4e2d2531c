"""The three ways to read a score: the number's token probabilities, a JSON object, or the reply's text."""

from collections.abc import Mapping
from typing import Literal

from steer_llama.chat.judging.expectation import Distribution, expect, first_mass, opening_of
from steer_llama.chat.judging.judgement import Judgement
from steer_llama.chat.judging.replies import (
    flaw_in,
    on_another_scale,
    read_structured,
    read_text,
    refuses,
    shown,
    was_cut,
    why_silent,
)
from steer_llama.records import ChatReply

Method = Literal["logprobs", "structured", "text"]


def read_reply(method: Method, reply: ChatReply, more: Mapping[str, Distribution], min_mass: float) -> Judgement:
    """The judgement in a reply that was asked for by ``method``.

    Args:
        method: how it was asked for.
        reply: the judge's.
        more: ``logprobs``: probabilities after further digits, by these digits (see `likely_digits`).
        min_mass: ``logprobs``: probability on numbers below which there is no score.
    """
    if method == "structured":
        return read_structured(reply)
    if method == "text" or refuses(reply.text):
        return read_text(reply)
    if silent := why_silent(reply):
        return Judgement.unscored(silent)
    opening = opening_of(reply.steps)
    if opening is None:
        return Judgement.unscored("the endpoint gave no log probabilities for this reply")
    if other := on_another_scale(reply.text):
        return Judgement.unscored(other)
    return expect(opening, more, min_mass, reply.text, cut=was_cut(reply))


def misfit(method: Method, reply: ChatReply, min_mass: float) -> str | None:
    """Why a first reply shows that the endpoint cannot be read by ``method``; ``None`` where it can."""
    if method == "text":
        return None
    if method == "structured":
        flaw = flaw_in(reply.text)
        return None if flaw is None else f"its reply {shown(reply.text)} does not keep to the schema: {flaw}"
    opening = opening_of(reply.steps)
    if opening is None:
        return "it gives no log probabilities"
    if refuses(reply.text) or (mass := first_mass(opening)) >= min_mass:
        return None
    return f"only {mass:.0%} of the probability is on numbers where it begins {shown(reply.text)}"


def remarks(method: Method, why_not: Mapping[Method, str]) -> str:
    """Which method was chosen and why, for the log."""
    how = {
        "logprobs": "the score is the expectation over the numbers 0–100 (log probabilities)",
        "structured": "the score is read from a JSON object (structured output)",
        "text": "the score is read from the reply's text",
    }[method]
    passed_over = "; ".join(f"not {name}: {reason}" for name, reason in why_not.items())
    return f"{how}; {passed_over}" if passed_over else f"{how}, the best that the endpoint can do"
