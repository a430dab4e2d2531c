"""What a judge's reply says as a text: a number, a JSON object, a refusal, or nothing that can be read."""

import json
import re

from steer_llama.chat.judging.judgement import Judgement
from steer_llama.records import ChatReply

_REFUSAL = re.compile(r"[\W_]*refusal[\W_]*", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?:(?:score|rating)\s*[:=]?\s*)?([0-9]{1,3})(?:\s*/\s*100|\s+out\s+of\s+100|\s*%)?\s*\.?", re.IGNORECASE
)
_MARKS = re.compile(r"[*_`\"']")
_OTHER_SCALE = re.compile(
    r"\W*(?:[0-9]{1,3}(?:\.[0-9]+)?\s*(?:/|out\s+of)\s*(?:[0-9]|[1-9][0-9])(?![0-9])|[0-9]\.[0-9]|1[.)]\s+\w"
    r"|[0-9]{1,3},[0-9]{3})",
    re.IGNORECASE,
)
"""7/10, 4 out of 5, 0.8, 1,000, and the beginning of a list."""
_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL | re.IGNORECASE)
_SHOWN = 40
_REFUSES = "the judge calls the answer a refusal"


def refuses(text: str) -> bool:
    """Whether the reply is the word that evaluation prompts ask for when the answer is a refusal."""
    return _REFUSAL.fullmatch(text.strip()) is not None


def why_silent(reply: ChatReply) -> str | None:
    """Why a reply holds no answer at all; ``None`` where it does."""
    if reply.text.strip():
        return None
    if was_cut(reply):
        where = " in its thoughts" if reply.reasoning else ""
        return f"the judge was cut{where} at max_tokens (judge.endpoint.sampling.max_tokens) before it answered"
    return f"the judge's reply is empty (finish_reason {reply.finish_reason!r})"


def was_cut(reply: ChatReply) -> bool:
    """Whether the reply ended at the limit of tokens."""
    return reply.finish_reason == "length"


def on_another_scale(text: str) -> str | None:
    """Why a reply's number is no score from 0 to 100 (``7/10``, ``0.8``, ``1. First``); ``None`` if it may be."""
    match = _OTHER_SCALE.match(text)
    return None if match is None else f"the judge answers {shown(text)}, which is no score from 0 to 100"


def read_text(reply: ChatReply) -> Judgement:
    """The score where the reply as a whole is a number from 0 to 100; never the first number that stands in it."""
    if refuses(reply.text):
        return Judgement.unscored(_REFUSES)
    if silent := why_silent(reply):
        return Judgement.unscored(silent)
    match = _NUMBER.fullmatch(_MARKS.sub("", reply.text).strip())
    if match is None:
        cut = ", and was cut at max_tokens" if was_cut(reply) else ""
        return Judgement.unscored(f"the judge's reply {shown(reply.text)} is no number{cut}")
    if was_cut(reply) and 0 < int(match[1]) <= 10:
        return Judgement.unscored(f"the judge's reply {shown(reply.text)} may have been cut in its number")
    if int(match[1]) > 100:
        return Judgement.unscored(f"the judge's score {match[1]} is not from 0 to 100")
    return Judgement(float(match[1]))


def read_structured(reply: ChatReply) -> Judgement:
    """The score in the JSON object that was asked for."""
    if silent := why_silent(reply):
        return Judgement.unscored(silent)
    if flaw := flaw_in(reply.text):
        cut = ", cut at max_tokens" if was_cut(reply) else ""
        return Judgement.unscored(f"the judge's reply {shown(reply.text)} cannot be read: {flaw}{cut}")
    refusal, score = _object(reply.text)
    if refusal is True or score is None:
        return Judgement.unscored(_REFUSES)
    return Judgement(float(score))


def flaw_in(text: str) -> str | None:
    """What is wrong with a structured reply, in words that the judge can act on; ``None`` for a good one."""
    if refuses(text):
        return None
    try:
        refusal, score = _object(text)
    except ValueError as error:
        return str(error)
    if not isinstance(refusal, bool):
        return "'refusal' must be true or false"
    if refusal:
        return None
    return _flaw_in_score(score)


def _flaw_in_score(score: object) -> str | None:
    if score is None:
        return "'score' is null, but 'refusal' is not true"
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 100 or score % 1:
        return f"'score' is {json.dumps(score)[:_SHOWN]}, expected a whole number from 0 to 100"
    return None


def shown(text: str) -> str:
    """A reply's beginning in one line, in quotes."""
    line = " ".join(text.split())
    return repr(line if len(line) <= _SHOWN else line[:_SHOWN] + "…")


def _object(text: str) -> tuple[object, float | None]:
    """``refusal`` and ``score`` of the reply's object; as they stand there, checked by `flaw_in`."""
    if refuses(text):
        return True, None
    fenced = _FENCE.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON object") from None
    if not isinstance(value, dict) or not {"refusal", "score"} <= value.keys():
        raise ValueError("it is no JSON object with the keys 'refusal' and 'score'")
    return value["refusal"], value["score"]
