"""The sections of a configuration, one a stage, and the whole."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from steer_llama.config.base import Settings
from steer_llama.config.endpoints import ArmSettings, EndpointSettings, ServerSettings
from steer_llama.config.training import TrainSettings
from steer_llama.errors import ConfigError

AUTHOR_MAX_TOKENS = 4096
"""Of an author's reply, unless its endpoint's sampling says otherwise."""
EstimatorName = Literal["mean_diff", "robust_mean_diff", "pca", "logistic", "lda", "trained"]
DEFAULT_POSITIONS = ("response", "emoji", "markdown")


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

    @field_validator("n_devices")
    @classmethod
    def _on_gpus(cls, count: int, info: ValidationInfo) -> int:
        device = info.data.get("device", "auto")
        if count > 1 and device not in ("auto", "cuda"):
            raise ValueError(f"the layers are spread over GPUs, but the device is {device!r}; use 1, or device 'cuda'")
        return count

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


class AuthorSettings(Settings):
    """The model that writes what is asked, and how much of it."""

    endpoint: EndpointSettings
    questions: int = Field(40, ge=3)
    """Distinct questions that are wanted."""
    questions_per_call: int = Field(20, gt=0)
    """Asked for at once; fewer for a model that cannot write so many."""
    instructions: int = Field(5, ge=1)
    """Contrastive instruction pairs."""
    max_calls: int = Field(40, gt=0)
    """Calls after which the author is given up: repairs and further batches count."""

    @model_validator(mode="before")
    @classmethod
    def _room_to_write(cls, values: Any) -> Any:
        # An answer of an arm is short; a list of questions, and a reasoning model's thoughts before it, are not.
        if isinstance(values, dict) and isinstance(endpoint := values.get("endpoint"), dict):
            sampling = endpoint.get("sampling", {})
            if isinstance(sampling, dict):
                sampling = {"max_tokens": AUTHOR_MAX_TOKENS, **sampling}
                return {**values, "endpoint": {**endpoint, "sampling": sampling}}
        return values


class RespondSettings(Settings):
    """How the arms are asked."""

    max_failed: int = Field(0, ge=0)
    """Answers that may stay out after all retries; with more, the stage fails, and asks for them again next time.
    (Questions that a server refuses outright do not count: asking again would not help.)"""


class JudgeSettings(Settings):
    """How an answer's trait score is found: counted (``metric``), or judged by a model (``endpoint``)."""

    metric: str | None = None
    """A measured style feature; default: the trait's own."""
    endpoint: EndpointSettings | None = None
    """A model that scores with the elicitation's evaluation prompt; without one, the metric is the score."""
    method: Literal["auto", "logprobs", "structured", "text"] = "auto"
    """How a score is read: the expectation over the number's tokens, a JSON object, or the reply's text.
    ``auto``: the first of these that the endpoint can do (found out with one question)."""
    coherence: bool = True
    """Have the model score the answers' coherence too."""
    repeats: int = Field(1, gt=0)
    """Judgements per answer, averaged. The first is greedy, the others are drawn with the endpoint's sampling."""
    min_mass: float = Field(0.25, ge=0, le=1)
    """``logprobs``: probability that has to lie on numbers 0–100; below it an answer is unscored."""
    seed: int = 0
    """Of the order in which the answers are judged."""


class BudgetSettings(Settings):
    """What a run may use; it stops cleanly before it would use more, and goes on when there is more."""

    max_calls: int | None = Field(None, gt=0)
    """HTTP requests to chat models, retries included."""
    max_tokens: int | None = Field(None, gt=0)
    """Tokens of prompts and answers together."""
    max_cost: float | None = Field(None, gt=0)
    """In the currency of the endpoints' ``price``, which every endpoint then needs."""


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
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """0-based blocks to read; default: all. Nothing above the last one is computed."""
    backend: Literal["transformers", "transformer_lens", "vllm"] = "transformers"
    """What runs the weights."""
    token_budget: int | None = Field(None, gt=0)
    """The most tokens of one forward pass; default: chosen for the machine."""
    tokens: bool = False
    """Store every response token of every layer too."""
    save_every: int = Field(10, gt=0)
    """Pairs between two writes to disk."""
    skip_too_long: bool = False
    """Keep pairs that do not fit the model's context out (counted and named) instead of stopping."""


class FitSettings(Settings):
    """How the vector is estimated."""

    estimator: EstimatorName = "mean_diff"
    positions: str = "response"
    """A mask for both arms, or ``chosen=emoji,rejected=response``."""
    match: tuple[Literal["position", "length", "token"], ...] = ()
    """Confounds that the arms are matched on: where in its answer stands what is averaged, the answer's length, which
    tokens they are."""
    project_out_mean: bool = False
    """Take the mean of both arms out of the directions."""
    orthogonal_to: tuple[Path, ...] = ()
    """Vectors of other traits that are taken out of the directions."""
    bootstrap: int | None = Field(None, ge=0)
    """Resamplings of the pairs for the intervals; default: 200 for ``mean_diff``, 50 for the others, which take longer.
    """
    seed: int = Field(0, ge=0)
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """``trained`` alone: the 0-based blocks whose direction is trained, each by itself."""
    train: TrainSettings = TrainSettings()
    """How ``trained`` is trained."""

    @model_validator(mode="after")
    def _layers_of_the_trained(self) -> Self:
        if self.estimator == "trained" and self.layers is None:
            raise ValueError("the estimator 'trained' needs 'layers': name the one or two that a sweep chose")
        if self.estimator != "trained" and self.layers is not None:
            raise ValueError(f"'layers' is of the estimator 'trained'; {self.estimator!r} is estimated at all of them")
        return self


class SweepSettings(Settings):
    """Which layers and strengths are tried, and how the winner is found and confirmed."""

    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """0-based blocks; default: five spread over the middle of the model."""
    strengths: tuple[float, ...] = Field((0.1, 0.2, 0.3, 0.4), min_length=1)
    """‖coefficient·v‖ over the mean residual norm at the layer."""
    modes: tuple[Literal["add", "keep_norm", "clamp"], ...] = Field(("add",), min_length=1)
    """What is done to the residual stream; ``clamp`` keeps the projection onto the vector at the strength or above."""
    where: tuple[Literal["all", "prompt", "response", "divergence"], ...] = Field(("all",), min_length=1)
    """At which tokens."""
    objective: Literal["fidelity", "trait"] = "fidelity"
    """What the winner is chosen by: nearness to the source's whole style, or the trait's score; both subject to
    coherence."""
    halving: bool = True
    """Stop what is clearly broken or weak early; otherwise every condition answers every dev question."""
    examples: int = Field(3, ge=0)
    """Of the source's answers, shown to the target in the confirmation's arm ``examples``; 0 leaves it out."""
    side_effects: Literal["full", "quick", "none"] = "full"
    """What the winner does besides: likelihood of neutral text, facts, refusals, drift over turns."""
    questions: int | None = Field(None, gt=0)
    """Dev questions to use; default: all."""
    min_coherence: float = Field(60.0, ge=0, le=100)
    """A condition below this coherence score cannot win."""
    max_tokens: int | None = Field(None, gt=0)
    """Tokens per answer; default: the target's own sampling."""
    batch_size: int = Field(64, gt=0)
    test_samples: int = Field(1, gt=0)
    """Answers per test question and arm in the confirmation."""
    random_directions: int = Field(3, ge=1)
    """Random directions of the winner's norm, in the confirmation."""
    bootstrap: int = Field(2000, gt=0)
    """Resamplings of the questions for the intervals."""
    seed: int = 0

    @field_validator("layers", "strengths", "modes", "where")
    @classmethod
    def _once(cls, values: tuple[float | str, ...] | None) -> tuple[float | str, ...] | None:
        if twice := [value for value in values or () if (values or ()).count(value) > 1]:
            raise ValueError(f"{twice[0]} stands there twice; each condition is tried once")
        return values

    @field_validator("strengths")
    @classmethod
    def _not_zero(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        if any(strength == 0 or not math.isfinite(strength) for strength in strengths):
            raise ValueError("a strength is a finite number other than 0: the unsteered target is tried anyway")
        return strengths


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
    author: AuthorSettings | None = None
    """Who writes the elicitation, where none is given."""
    source: ArmSettings
    target: ArmSettings
    budget: BudgetSettings = BudgetSettings()
    model: ModelSettings = ModelSettings()
    respond: RespondSettings = RespondSettings()
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

    @property
    def endpoints(self) -> dict[str, ServerSettings]:
        """Every chat model behind a server, by what the configuration calls it, in the order of use."""
        found: dict[str, ServerSettings] = {}
        if self.author is not None:
            found["author.endpoint"] = self.author.endpoint
        found |= {name: arm for name, arm in (("source", self.source), ("target", self.target)) if arm.kind == "openai"}
        if self.judge.endpoint is not None:
            found["judge.endpoint"] = self.judge.endpoint
        return found

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.budget.max_cost is not None:
            unpriced = [name for name, endpoint in self.endpoints.items() if endpoint.price is None]
            if unpriced:
                raise ValueError(f"'budget.max_cost' needs a price (input, output) for {', '.join(unpriced)}")
        return self

    @model_validator(mode="after")
    def _two_names(self) -> Self:
        if self.source.name == self.target.name:
            raise ValueError(f"source and target are both named {self.source.name!r}; their answers could not be told")
        return self
