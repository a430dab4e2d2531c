from pathlib import Path

import pytest

from steer_llama.config import ModelSettings
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.progress import SilentReporter
from tests.activations import tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path) -> LanguageModel:
    return load_model(ModelSettings(path=str(tiny_folder), device="cpu"), SilentReporter())
