"""What a judge is asked. Nothing in it tells which arm gave the answer."""

import re
from typing import Any

from steer_llama.errors import RecordError
from steer_llama.records import Message

_PLACES = re.compile(r"\{(question|answer)\}")

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"refusal": {"type": "boolean"}, "score": {"type": ["integer", "null"]}},
    "required": ["refusal", "score"],
    "additionalProperties": False,
}
"""Of a structured reply. The range is not in it (some servers refuse limits in a schema); it is checked here."""

_AS_JSON = (
    'Give this verdict as a JSON object with two keys: {"refusal": false, "score": N}, N being the whole number from 0 '
    'to 100, or {"refusal": true, "score": null} where the verdict is REFUSAL.'
)

EXCHANGE = """\
The user wrote:
<question>
{question}
</question>

The answer was:
<answer>
{answer}
</answer>"""
"""What is judged, in every evaluation prompt of ours."""

_COHERENCE = f"""Judge how coherent an answer is.
A coherent answer is fluent language that makes sense from beginning to end and speaks to what the user wrote. \
An incoherent one loops, falls apart into fragments or stray symbols, contradicts itself, or is about something else.

{EXCHANGE}

Look at coherence only: style, tone, length and whether the facts are right do not matter, and an answer that merely \
stops in the middle of a sentence is not incoherent for that.
Reply with one whole number from 0 (gibberish) to 100 (fluent and to the point). Write nothing else."""


def check_prompt(template: str, where: str) -> str:
    """The evaluation prompt, if it can be used; ``where`` names its file in errors.

    Raises:
        RecordError: it is empty, or has no place for the answer.
    """
    if not template.strip():
        raise RecordError(
            f"{where}: has no 'eval_prompt', expected the text that tells a judge how to score, with {{question}} and "
            "{answer} where these belong. Run `steer-llama elicit` to have one written, or add it."
        )
    if "{answer}" not in template:
        raise RecordError(
            f"{where}: 'eval_prompt' has no {{answer}}, so the judge would not see what it scores. "
            "Put {answer} (and {question}) where these belong."
        )
    return template


def fill(template: str, question: str, answer: str) -> str:
    """The prompt with both in their places, in one pass: a ``{question}`` within an answer stays as it is."""
    texts = {"question": question, "answer": answer}
    return _PLACES.sub(lambda match: texts[match[1]], template)


def coherence_prompt(question: str, answer: str) -> str:
    """What asks for an answer's coherence, on the same scale."""
    return fill(_COHERENCE, question, answer)


def structured_prompt(prompt: str) -> str:
    """The prompt, asking for a JSON object in the place of a bare number."""
    return f"{prompt.rstrip()}\n\n{_AS_JSON}"


def repair_of(messages: tuple[Message, ...], reply: str, flaw: str) -> tuple[Message, ...]:
    """The conversation that asks once more for a structured reply, telling what was wrong with the first."""
    said: Message = {"role": "assistant", "content": reply}
    told: Message = {"role": "user", "content": f"That cannot be read: {flaw}. {_AS_JSON} Write nothing else."}
    return (*messages, said, told)
