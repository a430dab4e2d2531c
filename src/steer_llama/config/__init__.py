"""One YAML, one section per stage. Every value has its unit and its default here and is read in one place."""

from steer_llama.config.base import Sampling, Settings
from steer_llama.config.endpoints import HOW, PRESETS, ArmSettings, EndpointSettings, Price, ServerSettings
from steer_llama.config.extraction import ExtractionConfig, StoreSettings
from steer_llama.config.loading import explain, load_config, load_extraction, parse_config
from steer_llama.config.sections import (
    DEFAULT_POSITIONS,
    AuthorSettings,
    BudgetSettings,
    Config,
    EstimatorName,
    ExtractSettings,
    FilterSettings,
    FitSettings,
    JudgeSettings,
    ModelSettings,
    ReportSettings,
    RespondSettings,
    SweepSettings,
)
from steer_llama.config.training import TrainSettings
from steer_llama.config.tuning import TuneSettings

__all__ = [
    "DEFAULT_POSITIONS",
    "HOW",
    "PRESETS",
    "ArmSettings",
    "AuthorSettings",
    "BudgetSettings",
    "Config",
    "EndpointSettings",
    "EstimatorName",
    "ExtractSettings",
    "ExtractionConfig",
    "FilterSettings",
    "FitSettings",
    "JudgeSettings",
    "ModelSettings",
    "Price",
    "ReportSettings",
    "RespondSettings",
    "Sampling",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "SweepSettings",
    "TrainSettings",
    "TuneSettings",
    "explain",
    "load_config",
    "load_extraction",
    "parse_config",
]
