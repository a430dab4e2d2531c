"""Monitored texts, made on the spot: a token for every character that is shown as one."""

import numpy as np
import regex

from steer_llama.evaluation.along import averages
from steer_llama.records import Axis, Monitored, MonitoredMessage, MonitoredText, Part
from tests.evaluation.test_page import HOSTILE

HEADER = "<|im_start|>\n"
SAID = ("hello 🎉 👨‍👩‍👧 é\r\n[bold]x[/bold] &amp; <b>", HOSTILE + " \x1b[31m \u202eabc\0", "third")
ROLES = ("user", "assistant", "assistant")


def axis(name: str, **more: object) -> Axis:
    given: dict[str, object] = {
        "name": name,
        "file": "v.safetensors",
        "layer": 3,
        "layer_reason": "as asked",
        "direction_norm": 2.0,
        "residual_norm": 10.0,
        "residual_norm_from": "vector",
        "centre": 0.0,
        "centre_from": "zero",
        "limit": 0.5,
        "limit_from": "98% of the answers' tokens lie within",
        "beyond": 1,
    }
    return Axis.model_validate(given | more)


def monitored(*axes: Axis, said: tuple[str, ...] = SAID) -> Monitored:
    """The first message is all below the centre of the first axis, the others above; token 0 is massive."""
    text = ""
    parts: list[Part] = []
    messages: list[MonitoredMessage] = []
    spans: list[tuple[int, int]] = []
    values: list[float] = []
    axes = axes or (axis("one"), axis("<i>two</i>"))
    for number, (role, content) in enumerate(zip(ROLES, said, strict=False)):
        start, first = len(text) + len(HEADER), 0
        for message, piece in ((None, HEADER), (number, content)):
            first = len(spans)
            for match in regex.finditer(r"\X", piece):
                begin, end = len(text) + match.start(), len(text) + match.end()
                parts.append(Part(start=begin, end=end, tokens=(len(spans),), message=message))
                spans.append((begin, end))
                values.append(-0.2 if number == 0 else 0.3)
            text += piece
        along_AT = 10 * np.array([values[first:], [-value for value in values[first:]]][: len(axes)])
        means = averages(along_AT, np.zeros(along_AT.shape, bool), [10.0] * len(axes))
        messages.append(
            MonitoredMessage(
                role=role, start=start, end=len(text), first_token=first, stop_token=len(spans), averages=means
            )
        )
    strength = (tuple(values), tuple(-value for value in values))[: len(axes)]
    found = MonitoredText(
        name="talk <script>",
        text=text,
        token_ids=tuple(range(len(spans))),
        token_spans=tuple(spans),
        projection=tuple(tuple(10 * value for value in row) for row in strength),
        strength=strength,
        massive=((0, len(HEADER)),) * len(axes),
        parts=tuple(parts),
        messages=tuple(messages),
        roles={role: messages[ROLES.index(role)].averages for role in ROLES},
    )
    return Monitored(model="tiny", model_fingerprint="f", raw=False, axes=axes, texts=(found,), roles=dict(found.roles))
