"""The configuration of an extraction alone (``extract --config``): the seed's sections, and ours beside them."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from steer_llama.config.base import Settings
from steer_llama.config.sections import ExtractSettings, ModelSettings


def _none(value: Any) -> Any:
    return None if value == "none" else value


class StoreSettings(Settings):
    """How activations are stored."""

    layout: Literal["pooled", "per_sample"] = "pooled"
    """``pooled``: means over masks, in our own file; ``per_sample``: every answer token, in the seed's file."""
    compression: Annotated[Literal["gzip", "lzf"] | None, BeforeValidator(_none)] = "gzip"
    """Of the ``per_sample`` layout; ``none``: as it is. The ``pooled`` one is never compressed."""
    compression_opts: int | None = Field(None, ge=0, le=9)
    """``gzip``: 0 (fast) to 9 (small); default: 4."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.compression != "gzip" and self.compression_opts is not None:
            raise ValueError(f"'compression_opts' is gzip's; {self.compression or 'no compression'} has none")
        return self

    @property
    def compression_asked(self) -> bool:
        """Whether a compression was asked for, and is not just the default."""
        return "compression" in self.model_fields_set and self.compression is not None


class DatasetSettings(Settings):
    """The pairs."""

    path: Path
    """A ``filtered.json``, or DPO rows (JSONL) as TRL writes them."""
    chosen_field: str | None = None
    """Key of the answer with the wanted style, e.g. ``pi_response``."""
    rejected_field: str | None = None
    """Key of the other answer."""
    add_system: bool = False
    """Put ``system_prompt`` before every question that has none."""
    system_prompt: str = ""


class OutputSettings(StoreSettings):
    """The file."""

    file: Path = Path("activations.h5")


class ProcessingSettings(Settings):
    """How it is done."""

    save_intermediate: bool = False
    """Accepted and without effect: what is read is always saved as it comes, as it costs nothing."""
    save_every: int | None = Field(None, gt=0)
    """Pairs between two writes to disk; default: that of ``extract`` (10)."""


class ExtractionConfig(Settings):
    """A whole extraction."""

    model: ModelSettings
    dataset: DatasetSettings
    output: OutputSettings = OutputSettings()
    processing: ProcessingSettings = ProcessingSettings()
    extract: ExtractSettings = ExtractSettings()

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        here, there = self.processing.save_every, self.extract.save_every
        if here is not None and "save_every" in self.extract.model_fields_set and here != there:
            raise ValueError(f"'processing.save_every' is {here} and 'extract.save_every' is {there}; give one of them")
        return self

    @property
    def settings(self) -> ExtractSettings:
        """What is read, and how often it is saved."""
        every = self.processing.save_every
        return self.extract if every is None else self.extract.model_copy(update={"save_every": every})

    @property
    def system_prompt(self) -> str:
        """What stands before every question that has no system message."""
        return self.dataset.system_prompt if self.dataset.add_system else ""
