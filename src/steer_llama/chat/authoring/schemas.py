"""JSON schemas of the author's answers (structured output)."""

from typing import Any

_QUESTION = 200
_INSTRUCTION = 300
"""Characters; small models would go on for ever. What comes longer from a server that cannot limit it is no error."""


def questions_schema(number: int) -> dict[str, Any]:
    """``number`` questions."""
    return _object({"questions": _list(_text(_QUESTION), number)})


def pairs_schema(number: int) -> dict[str, Any]:
    """``number`` instruction pairs."""
    return _object({"instruction": _list(_object({side: _text(_INSTRUCTION) for side in ("pos", "neg")}), number)})


def rubric_schema() -> dict[str, Any]:
    """What a judge looks for."""
    return _object({part: _text(_INSTRUCTION) for part in ("shows", "low", "high")})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(item: dict[str, Any], number: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": number, "maxItems": number}


def _text(longest: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": longest}
