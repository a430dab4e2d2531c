"""Models that several rooms' tests share; each is loaded once a session."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported: no test asks a hub
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

from steer_llama.config import ModelSettings
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.progress import SilentReporter
from tests.lm.models import save_tiny_llama

torch.set_num_threads(1)  # tiny models: threads would wait for each other more than they work


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The embedded model; converted on the first use on a machine (half a minute)."""
    return load_model(ModelSettings(path="smollm2", device="cpu"), SilentReporter())


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A random Llama of 3 layers and width 32, in float32, read from a folder like any other model."""
    folder = save_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))
    return load_model(ModelSettings(path=str(folder), device="cpu"), SilentReporter())
