"""Folders with 4- and 8-bit weights, by a real bitsandbytes on the CPU."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.lm.reading import Conversation, PackedReader, Wanted, open_reader
from steer_llama.lm.reading.alone import read_alone
from steer_llama.progress import SilentReporter
from tests.lm.models import save_tiny_llama

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes is installed on Linux alone")
HOW = {
    4: BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32),
    8: BitsAndBytesConfig(load_in_8bit=True),
}


@pytest.mark.parametrize("bits", sorted(HOW))
def test_they_load_and_are_packed(tmp_path: Path, bits: int) -> None:
    plain, folder = save_tiny_llama(tmp_path / "plain", width=128), tmp_path / "quantised"
    quantised = AutoModelForCausalLM.from_pretrained(plain, quantization_config=HOW[bits], device_map={"": "cpu"})
    quantised.save_pretrained(folder)
    AutoTokenizer.from_pretrained(plain).save_pretrained(folder)
    reader = open_reader(ModelSettings(path=str(folder), device="cpu"), ExtractSettings(), SilentReporter())
    assert isinstance(reader, PackedReader)
    assert "not fused: the matrices are quantised" in reader.about
    kind = type(reader.model.blocks[0].mlp.up_proj).__name__
    assert kind == {4: "Linear4bit", 8: "Linear8bitLt"}[bits]
    wanted = Wanted((0, 1, 2))
    random = np.random.default_rng(0)
    arms = [Conversation(random.integers(20, 300, n, np.int32), np.ones((1, n), bool)) for n in (40, 25)]
    reader.batches([arms])
    for found, arm in zip(reader.read(arms, wanted), arms, strict=True):
        expected = read_alone(reader.model, arm, wanted).mean_PLD
        assert np.linalg.norm(found.mean_PLD - expected) < 0.03 * np.linalg.norm(expected)
