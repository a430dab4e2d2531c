"""What `monitor` writes: how far every token of a text lies along vectors.

Shapes: A axes (a vector at a layer), T tokens.
"""

from typing import Literal

from pydantic import Field

from steer_llama.records.base import Record

Numbers = tuple[float | None, ...]
"""One for each axis; ``None`` where there is no token to average."""


class Axis(Record):
    """A vector at a layer, and the scale on which its values are shown."""

    name: str
    file: str
    trait: str = ""
    layer: int
    """0-based block, at its output."""
    layer_reason: str
    """Why this layer."""
    direction_norm: float
    """‖v‖ there: what the unit of projection would be multiplied by for v·h."""
    residual_norm: float
    """Mean ‖residual‖ there: strength is projection over this."""
    residual_norm_from: Literal["vector", "text"]
    """Whether the vector says so, or this text's own tokens do."""
    centre: float
    """Strength that is the middle of the colours."""
    centre_from: str
    limit: float
    """Distance in strength from the middle at which the colours are full."""
    limit_from: str
    beyond: int
    """How many tokens lie further out (without massive ones)."""


class Averages(Record):
    """Means over some tokens, each an entry per axis."""

    tokens: int
    projection: Numbers
    """In units of the residual."""
    strength: Numbers
    massive: tuple[int, ...]
    """How many of them are massive."""
    ordinary_strength: Numbers
    """Mean strength without these."""


class Part(Record):
    """A part of the text that is shown as one: a token, or several that share its characters."""

    start: int
    end: int
    """Characters ``[start, end)`` of the text. One part after the other they are the text."""
    tokens: tuple[int, ...]
    message: int | None = None
    """Which message it belongs to; ``None`` for what the chat template adds."""


class MonitoredMessage(Record):
    """One message of a text."""

    role: str
    start: int
    end: int
    """Its characters in the text."""
    first_token: int
    stop_token: int
    """Its tokens, ``[first, stop)``: for an answer the same that `positions: response` averages."""
    averages: Averages


class MonitoredText(Record):
    """A conversation or a text, token by token."""

    name: str
    text: str
    """As the model read it, with what the chat template adds."""
    token_ids: tuple[int, ...]
    token_spans: tuple[tuple[int, int], ...]
    """Characters of the text that each token covers."""
    projection: tuple[tuple[float, ...], ...]
    """(A, T): scalar projection of the residual onto the unit direction, in units of the residual."""
    strength: tuple[tuple[float, ...], ...]
    """(A, T): the same over the mean residual norm."""
    massive: tuple[tuple[int, ...], ...]
    """Per axis the tokens with an outsized residual: attention sinks, mostly. Not on the colours' scale."""
    parts: tuple[Part, ...]
    messages: tuple[MonitoredMessage, ...]
    roles: dict[str, Averages]
    """Over the tokens of all messages of a role."""


class Monitored(Record):
    """What `monitor` found."""

    model: str
    model_fingerprint: str
    raw: bool
    """Whether the text went to the model as it is, without a chat template."""
    axes: tuple[Axis, ...]
    texts: tuple[MonitoredText, ...]
    roles: dict[str, Averages] = Field(default_factory=dict)
    """Over all texts."""
