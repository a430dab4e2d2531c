"""One YAML, one section per stage. Every value has its unit and its default here and is read in one place."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from steer_llama.errors import ConfigError
from steer_llama.files import read_text
from steer_llama.records import Turn

DEFAULT_POSITIONS = ("response", "divergence", "emoji", "markdown", "non_alphabetic")


class Settings(BaseModel):
    """Base of the sections: immutable, and a key that nobody reads is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sampling(Settings):
    """How an answer is drawn."""

    temperature: float = Field(0.7, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    """Over the tokens of the answer (not the prompt's); 1 is off. Sent to servers only when it is not 1."""
    max_tokens: int = Field(256, gt=0)
    """Tokens, per answer."""
    seed: int = 0
    """Every question's own seed is derived from this one, so an answer does not depend on its neighbours."""


class ArmSettings(Settings):
    """One of the two models that answer: where it is and how it is asked."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Prefix of the keys in ``results.json`` and ``filtered.json``: ``<name>_response``."""
    kind: Literal["local", "openai", "recorded"]
    model: str | None = None
    """``local``: weights (default: the model section's). ``openai``: the model's name on the server."""
    base_url: str | None = None
    """``openai`` only, e.g. ``http://127.0.0.1:8000/v1``."""
    api_key_env: str | None = None
    """``openai`` only: the environment variable that holds the key. The key itself is never written anywhere."""
    file: Path | None = None
    """``recorded`` only: a responses.jsonl, results.json or filtered.json with this arm's answers."""
    system_prompt: str = ""
    examples: tuple[Turn, ...] = ()
    """Turns that stand before the question."""
    demonstrate: bool = False
    """Take the system prompt and the example turns from the trait's own demonstration."""
    sampling: Sampling = Sampling()
    concurrency: int = Field(8, gt=0)
    """``openai`` only: requests under way at once."""
    timeout: float = Field(120.0, gt=0)
    """``openai`` only: seconds for one request."""
    max_retries: int = Field(6, ge=0)
    """``openai`` only: further tries after 408, 409, 429, 5xx, time-outs and lost connections."""
    batch_size: int = Field(32, gt=0)
    """``local`` only: questions answered at once."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {"openai": ("base_url", "model"), "recorded": ("file",), "local": ()}[self.kind]
        for key in needs:
            if getattr(self, key) is None:
                raise ValueError(f"kind {self.kind!r} needs {key!r}")
        if self.demonstrate and (self.system_prompt or self.examples):
            raise ValueError("'demonstrate' takes the trait's own prompt; leave out 'system_prompt' and 'examples'")
        return self


class ModelSettings(Settings):
    """The weights that are read and steered: the target's."""

    name: str | None = None
    """A hub id, used where ``path`` is not given."""
    path: str | None = None
    """A folder, a GGUF file, a hub id, or ``smollm2`` (the model that steer-llama brings along)."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` …"""
    n_devices: int = Field(1, ge=1)
    """GPUs that the layers are spread over."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: the weights' own on a GPU, float32 on a CPU."""

    @property
    def where(self) -> str:
        """What to load.

        Raises:
            ConfigError: neither ``path`` nor ``name`` is given.
        """
        where = self.path or self.name
        if not where:
            raise ConfigError("model: give 'path' (a folder, a GGUF file, a hub id, or smollm2).")
        return where


class JudgeSettings(Settings):
    """How an answer's trait score is found."""

    metric: str | None = None
    """A measured style feature; default: the trait's own."""


class FilterSettings(Settings):
    """Which pairs are kept."""

    threshold: float = Field(40.0, ge=0)
    """Points; a pair is kept when its scores differ by more."""
    direction: Literal["majority", "source", "target", "both"] = "majority"
    """Which arm must score higher; ``majority``: the one that does so more often among the pairs over the threshold."""


class ExtractSettings(Settings):
    """What is read from the target while it is teacher-forced through both answers."""

    positions: tuple[str, ...] = DEFAULT_POSITIONS
    """Masks to pool over; all in one pass."""
    tokens: bool = False
    """Store every response token of every layer too."""
    save_every: int = Field(10, gt=0)
    """Pairs between two writes to disk."""
    skip_too_long: bool = False
    """Keep pairs that do not fit the model's context out (counted and named) instead of stopping."""


class FitSettings(Settings):
    """How the vector is estimated."""

    estimator: Literal["mean_difference"] = "mean_difference"
    positions: str = "response"
    """A mask for both arms, or ``chosen=emoji,rejected=response``."""
    bootstrap: int = Field(200, ge=0)
    """Resamplings of the pairs for the intervals."""
    seed: int = 0


class SweepSettings(Settings):
    """Which layers and strengths are tried, and how the winner is found and confirmed."""

    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """0-based blocks; default: five spread over the middle of the model."""
    strengths: tuple[float, ...] = Field((0.1, 0.2, 0.3, 0.4), min_length=1)
    """‖coefficient·v‖ over the mean residual norm at the layer."""
    questions: int | None = Field(None, gt=0)
    """Dev questions to use; default: all."""
    min_coherence: float = Field(60.0, ge=0, le=100)
    """A condition below this coherence score cannot win."""
    max_tokens: int | None = Field(None, gt=0)
    """Tokens per answer; default: the target's own sampling."""
    batch_size: int = Field(32, gt=0)
    test_samples: int = Field(1, gt=0)
    """Answers per test question and arm in the confirmation."""
    random_directions: int = Field(3, ge=1)
    """Random directions of the winner's norm, in the confirmation."""
    bootstrap: int = Field(2000, gt=0)
    """Resamplings of the questions for the intervals."""
    seed: int = 0

    @field_validator("layers", "strengths")
    @classmethod
    def _once(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if twice := [value for value in values or () if (values or ()).count(value) > 1]:
            raise ValueError(f"{twice[0]:g} stands there twice; each condition is tried once")
        return values


class ReportSettings(Settings):
    """What ``report.html`` shows."""

    examples: int = Field(6, ge=0)
    """Test questions whose answers stand side by side."""


class Config(Settings):
    """A whole run."""

    trait: str = "emoji"
    """A packaged trait, or the path of a trait's JSON."""
    elicitation: Path | None = None
    """The path of an elicitation; default: the packaged one of the trait."""
    source: ArmSettings
    target: ArmSettings
    model: ModelSettings = ModelSettings()
    judge: JudgeSettings = JudgeSettings()
    filter: FilterSettings = FilterSettings()
    extract: ExtractSettings = ExtractSettings()
    fit: FitSettings = FitSettings()
    sweep: SweepSettings = SweepSettings()
    report: ReportSettings = ReportSettings()

    @property
    def trait_name(self) -> str:
        """The trait's name, without the folder and ending of its file."""
        return Path(self.trait).stem if self.trait.endswith(".json") else self.trait

    @model_validator(mode="after")
    def _two_names(self) -> Self:
        if self.source.name == self.target.name:
            raise ValueError(f"source and target are both named {self.source.name!r}; their answers could not be told")
        return self


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a configuration; ``overrides`` are ``section.key=value`` with YAML values.

    Relative paths in the file stand relative to the file.

    Raises:
        FileError: the file is missing or empty.
        ConfigError: it is not YAML, or a key or value is wrong (named, with what was expected).
    """
    return parse_config(read_text(path, "a configuration (YAML)"), str(path), overrides, path.parent)


def parse_config(text: str, where: str, overrides: tuple[str, ...] = (), base: Path | None = None) -> Config:
    """Read a configuration from ``text``; ``where`` names it in errors. See `load_config`."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected sections (source, target, model …), found a {type(raw).__name__}.")
    if base is not None:
        _anchor(raw, base)
    for override in overrides:
        _apply(raw, override)
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, Config)}") from error


def _anchor(raw: dict[str, Any], base: Path) -> None:
    """Make the paths of a configuration file relative to that file."""
    arms = [arm for arm in (raw.get("source"), raw.get("target")) if isinstance(arm, dict)]
    paths = [(raw, "elicitation"), *((arm, "file") for arm in arms)]
    # These may be names as well (of a packaged trait, on a hub): only what is plainly a path is taken for one.
    local = [arm for arm in arms if arm.get("kind") == "local"]
    perhaps = [(raw, "trait"), (raw.get("model"), "path"), *((arm, "model") for arm in local)]
    paths += [(section, key) for section, key in perhaps if isinstance(section, dict) and _is_path(section.get(key))]
    for section, key in paths:
        if isinstance(section.get(key), str):
            section[key] = str(base / section[key])


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(("./", "../")) or value.endswith(".json"))


def _apply(raw: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected section.key=value, e.g. fit.positions=emoji.")
    section = raw
    for key in keys[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override}: {key!r} is a value, not a section.")
    try:
        section[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {' '.join(str(error).split())}") from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A validation error in a sentence or more: which key, what was found, what was expected."""
    parts: list[str] = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "the whole"
        if problem["type"] == "extra_forbidden":
            known = _keys_at(model, problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known here: {', '.join(known)}."
            parts.append(f"unknown key {where!r}.{hint}")
        elif problem["type"] == "missing":
            parts.append(f"the key {where!r} is missing.")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            found = problem["input"]
            shown = "" if isinstance(found, dict | list) else f" (found {found!r})"
            parts.append(f"{where}: {message[:1].lower()}{message[1:]}{shown}.")
    return " ".join(parts)


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)
