"""A baked folder through llama.cpp's own converter: a stock llama.cpp steers as our hook does, layer 0 included.

Shapes: T tokens, V vocabulary.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.lm.baking import bake_checkpoint
from steer_llama.lm.embedded import embedded_folder
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering, steering
from steer_llama.progress import SilentReporter
from tests.llamacpp.conftest import Floats, LlamaCpp

pytestmark = pytest.mark.llamacpp

PROMPT = "The best thing about rainy days is that the garden"
TOLERANCE = 0.01
"""In logits; measured: 6e-5. The same vector on a neighbouring block is off by more than 2."""
LENGTH = 60.0
"""Of what is added; the residual stream's mean norm is about 150."""


def ours_TV(model: LanguageModel, ids: list[int], layer: int, added_D: Floats) -> Floats:
    with steering(model, [Steering(layer, torch.from_numpy(added_D))]), torch.no_grad():
        logits_TV: Floats = model.hf(torch.tensor([ids])).logits[0].float().numpy()
    return logits_TV


@pytest.mark.parametrize("layer", [0, 12, 29])
def test_the_logits_are_the_hooks(llama_cpp: LlamaCpp, smollm2: LanguageModel, tmp_path: Path, layer: int) -> None:
    direction_D = np.random.default_rng(0).standard_normal(smollm2.width)
    added_D = (LENGTH * direction_D / np.linalg.norm(direction_D)).astype(np.float32)
    folder = tmp_path / f"baked-{layer}"
    bake_checkpoint(embedded_folder(SilentReporter()), {layer: added_D}, folder, SilentReporter())
    ids = smollm2.tokenizer(PROMPT)["input_ids"]
    found_TV = llama_cpp.logits(llama_cpp.convert(folder), ids)
    assert np.abs(found_TV - ours_TV(smollm2, ids, layer, added_D)).max() < TOLERANCE
    for neighbour in {layer - 1, layer + 1} & set(range(smollm2.n_layers)):
        assert np.abs(found_TV - ours_TV(smollm2, ids, neighbour, added_D)).max() > 100 * TOLERANCE
    plain_TV = ours_TV(smollm2, ids, layer, 0 * added_D)
    assert np.abs(found_TV - plain_TV).max() > 100 * TOLERANCE
