"""Where chat models are and how they are asked."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from steer_llama.config.base import Sampling, Settings
from steer_llama.records import Turn

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "pi": {
            "base_url": "https://api.inflection.ai/external/api/inference/openai/v1",
            "model": "inflection_3_pi",
            "api_key_env": "PI_API_KEY",
        },
        "vllm": {"base_url": "http://127.0.0.1:8000/v1"},
        "openai": {
            "base_url": "https://api.openai.com/v1",
            "api_key_env": "OPENAI_API_KEY",
            "max_tokens_key": "max_completion_tokens",
        },
    }
)
"""What is filled in for the keys that an endpoint leaves out."""


HOW = frozenset(
    {"preset", "api_key_env", "stream", "concurrency", "requests_per_minute", "tokens_per_minute", "timeout"}
    | {"max_retries", "max_wait", "max_tokens_key", "price"}
)
"""Settings of a server that change how answers come and what they cost, and not what they are."""


class Price(Settings):
    """What a provider charges, per million tokens, in one currency for the whole configuration."""

    input: float = Field(ge=0)
    """Per million prompt tokens."""
    output: float = Field(ge=0)
    """Per million tokens of the answer, thoughts included."""


class ServerSettings(Settings):
    """An OpenAI-compatible server: where it is, and how much it is asked at once."""

    preset: Literal["pi", "vllm", "openai"] | None = None
    """Fills in ``base_url``, ``api_key_env`` and ``model`` of a known provider; what is given here wins."""
    base_url: str | None = None
    """E.g. ``http://127.0.0.1:8000/v1``."""
    model: str | None = None
    """The model's name on the server."""
    api_key_env: str | None = None
    """The environment variable that holds the key. The key itself is never written anywhere."""
    sampling: Sampling = Sampling()
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, e.g. ``{chat_template_kwargs: {enable_thinking: false}}``."""
    omit: tuple[Literal["temperature", "top_p", "seed", "stream_options"], ...] = ()
    """Fields that are never sent, for servers that refuse them."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit of an answer."""
    stream: bool = False
    """Let the answer come piece by piece, for servers behind a proxy that cuts silent connections."""
    concurrency: int = Field(8, gt=0)
    """Requests under way at once."""
    requests_per_minute: int | None = Field(None, gt=0)
    """Retries count."""
    tokens_per_minute: int | None = Field(None, gt=0)
    """A request counts its prompt (estimated) and all the tokens that its answer may have, as providers count it."""
    timeout: float = Field(120.0, gt=0)
    """Seconds without a byte from the server."""
    max_retries: int = Field(6, ge=0)
    """Further tries after 408, 409, 429, 5xx, time-outs, lost connections and broken replies."""
    max_wait: float = Field(60.0, gt=0)
    """Seconds, the longest wait before another try; a server that asks for more (Retry-After) ends the request."""
    price: Price | None = None

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") in PRESETS:
            return {**PRESETS[values["preset"]], **values}
        return values


class EndpointSettings(ServerSettings):
    """A chat model that writes or judges: always behind a server."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _require(self, ("base_url", "model"), "an endpoint")
        return self


class ArmSettings(ServerSettings):
    """One of the two models that answer: where it is and how it is asked."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Prefix of the keys in ``results.json`` and ``filtered.json``: ``<name>_response``."""
    kind: Literal["local", "openai", "recorded"]
    """``openai``: any OpenAI-compatible server (a preset is one, and may stand instead of the kind)."""
    file: Path | None = None
    """``recorded`` only: a responses.jsonl, results.json or filtered.json with this arm's answers."""
    system_prompt: str = ""
    examples: tuple[Turn, ...] = ()
    """Turns that stand before the question."""
    demonstrate: bool = False
    """Take the system prompt and the example turns from the trait's own demonstration."""
    batch_size: int = Field(32, gt=0)
    """``local`` only: questions answered at once."""

    @model_validator(mode="before")
    @classmethod
    def _preset_is_a_kind(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") and "kind" not in values:
            return {**values, "kind": "openai"}
        return values

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.preset and self.kind != "openai":
            raise ValueError(f"the preset {self.preset!r} is for kind 'openai', not {self.kind!r}")
        _require(self, {"openai": ("base_url", "model"), "recorded": ("file",), "local": ()}[self.kind], self.kind)
        if self.demonstrate and (self.system_prompt or self.examples):
            raise ValueError("'demonstrate' takes the trait's own prompt; leave out 'system_prompt' and 'examples'")
        return self


def _require(settings: ServerSettings, keys: tuple[str, ...], what: str) -> None:
    for key in keys:
        if getattr(settings, key) is None:
            raise ValueError(f"{what} needs {key!r}" if what == "an endpoint" else f"kind {what!r} needs {key!r}")
