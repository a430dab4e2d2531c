"""DPO data as TRL has it: conversational or plain text, with or without ``prompt``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steer_llama.errors import RecordError
from steer_llama.files import write_jsonl
from steer_llama.pairs.arms import text_of
from steer_llama.records import Message, Pair

_OLD_STYLE = "Human:"


def pair_of_row(row: Mapping[str, Any], where: str, name: str, chosen_field: str, rejected_field: str) -> Pair:
    """The pair that a row holds; ``where`` names the row in errors.

    The prompt is what stands before the last message, which is the assistant's answer. Where the two conversations
    differ before it, the pair keeps both prompts.

    Raises:
        RecordError: a key is missing or of another shape; the row and the key are named.
    """
    chosen_prompt, chosen = _conversation(row, where, chosen_field)
    rejected_prompt, rejected = _conversation(row, where, rejected_field)
    return Pair(
        prompt=chosen_prompt,
        chosen=chosen,
        rejected=rejected,
        name=name,
        rejected_prompt=rejected_prompt if rejected_prompt != chosen_prompt else None,
    )


def write_preferences(path: Path, pairs: Sequence[Pair]) -> None:
    """Write pairs as a conversational preference dataset of TRL (JSONL).

    The rows have ``prompt``, ``chosen`` and ``rejected``, lists of messages. Where the two prompts of a pair differ,
    no row has a ``prompt`` (TRL's implicit prompt), since all rows of a dataset have the same columns.

    Raises:
        StorageError: the file cannot be written.
    """
    implicit = any(pair.rejected_prompt is not None for pair in pairs)
    write_jsonl(path, [_row(pair, implicit) for pair in pairs])


def _row(pair: Pair, implicit: bool) -> dict[str, Any]:
    chosen: list[Message] = [{"role": "assistant", "content": pair.chosen}]
    rejected: list[Message] = [{"role": "assistant", "content": pair.rejected}]
    if not implicit:
        return {"prompt": list(pair.prompt), "chosen": chosen, "rejected": rejected}
    other = pair.prompt if pair.rejected_prompt is None else pair.rejected_prompt
    return {"chosen": [*pair.prompt, *chosen], "rejected": [*other, *rejected]}


def _conversation(row: Mapping[str, Any], where: str, field: str) -> tuple[tuple[Message, ...], str]:
    """The prompt and the answer under ``field``."""
    prompt = _prompt(row, where)
    value = row.get(field)
    if isinstance(value, list):
        messages = _messages(value, where, field)
        # Some data sets repeat the prompt at the head of the answers, as TRL's implicit prompt.
        whole = messages if messages[: len(prompt)] == prompt else prompt + messages
        if whole[-1]["role"] != "assistant":
            raise RecordError(
                f"{where}: the last message of {field!r} has the role {whole[-1]['role']!r}, expected 'assistant'."
            )
        before, answer = whole[:-1], whole[-1]["content"]
    else:
        before, answer = prompt, text_of(row, field, where)
        if answer.lstrip().startswith(_OLD_STYLE):
            raise RecordError(
                f"{where}: {field!r} is a whole dialogue in one text ('Human: … Assistant: …'); expected the answer "
                "alone and the question under 'prompt', or a list of messages."
            )
        if not prompt:
            raise RecordError(
                f"{where}: {field!r} is a text, and there is no 'prompt'; give the question under 'prompt', "
                "or a list of messages."
            )
    if not any(message["role"] == "user" for message in before):
        raise RecordError(f"{where}: no user message stands before the answer {field!r}; expected a question.")
    return before, answer


def _prompt(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    value = row.get("prompt")
    if value is None:
        return ()
    if isinstance(value, list):
        return _messages(value, where, "prompt")
    text = text_of(row, "prompt", where)
    if not text.strip():
        raise RecordError(f"{where}: 'prompt' is empty; expected a question.")
    return ({"role": "user", "content": text},)


def _messages(value: list[Any], where: str, field: str) -> tuple[Message, ...]:
    if not value:
        raise RecordError(f"{where}: {field!r} has no messages.")
    messages: list[Message] = []
    for number, message in enumerate(value, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise RecordError(
                f"{where}: message {number} of {field!r} is not of the form "
                '{"role": "user" | "assistant" | "system", "content": "a text"}.'
            )
        messages.append({"role": role, "content": content})
    return tuple(messages)
