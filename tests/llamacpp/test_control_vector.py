"""A file of ours steers a real llama.cpp as our own hook does, at the same layer, on the same float32 weights.

Shapes: T tokens, V vocabulary, L layers, D width.
"""

from contextlib import ExitStack
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering, steering
from steer_llama.vectors import SteeringVector, open_vector, save_vector
from tests.llamacpp.conftest import Floats, LlamaCpp

pytestmark = pytest.mark.llamacpp

PROMPT = "The best thing about rainy days is that the garden"
TOLERANCE = 0.01
"""In logits; measured: 1e-4. The same vector on a neighbouring block is off by more than 1."""
COEFFICIENT = 2.5


@pytest.fixture(scope="module")
def vector(smollm2: LanguageModel) -> SteeringVector:
    """A direction for each of 30 layers, as large as what is used to steer, with a record as long as a real one."""
    random = np.random.default_rng(0)
    directions_LD = random.standard_normal((smollm2.n_layers, smollm2.width)).astype(np.float32)
    return SteeringVector(
        directions_LD=directions_LD,
        layers=tuple(range(smollm2.n_layers)),
        residual_norm_L=np.full(smollm2.n_layers, 100, np.float32),
        model="smollm2",
        model_fingerprint="abc",
        trait="émoji 😀",
        estimator="mean_difference",
        positions="response",
        model_type="llama",
        recommended_layer=10,
        recommended_strength=0.2,
        evidence={"pairs": 33, "norm": [1.5] * 5000},
    )


def ours_TV(model: LanguageModel, ids: list[int], *added: tuple[int, Floats]) -> Floats:
    """The logits of transformers, with our hooks: each adds a vector at the output of a block."""
    with ExitStack() as hooks, torch.no_grad():
        for block, vector_D in added:
            hooks.enter_context(steering(model, [Steering(block, torch.from_numpy(vector_D))]))
        logits_TV: Floats = model.hf(torch.tensor([ids])).logits[0].float().numpy()
    return logits_TV


def apart(one_TV: Floats, other_TV: Floats) -> float:
    return float(np.abs(one_TV - other_TV).max())


def test_unsteered_they_agree(llama_cpp: LlamaCpp, smollm2: LanguageModel, smollm2_gguf: Path) -> None:
    answer = llama_cpp.answer(smollm2_gguf, PROMPT)
    ids = answer.ids_T.tolist()
    assert smollm2.tokenizer.decode(ids) == PROMPT
    plain_TV = ours_TV(smollm2, ids)
    assert apart(answer.logits_TV, plain_TV) < TOLERANCE
    assert apart(llama_cpp.logits(smollm2_gguf, ids), plain_TV) < TOLERANCE


@pytest.mark.parametrize("layer", [1, 2, 10, 15, 28, 29])
def test_a_layer_is_steered_where_our_hook_steers(
    llama_cpp: LlamaCpp, smollm2: LanguageModel, smollm2_gguf: Path, vector: SteeringVector, tmp_path: Path, layer: int
) -> None:
    """One file of all layers, of which llama.cpp is told to use one, as its users do."""
    file = tmp_path / "v.gguf"
    (note,) = save_vector(file, vector, "gguf")
    assert "layer 0 is left out" in note
    flags = ("--control-vector-scaled", f"{file}:{COEFFICIENT}", "--control-vector-layer-range", str(layer), str(layer))
    answer = llama_cpp.answer(smollm2_gguf, PROMPT, *flags)
    ids, added_D = answer.ids_T.tolist(), COEFFICIENT * vector.direction_D(layer)
    found = {
        block: apart(answer.logits_TV, ours_TV(smollm2, ids, (block, added_D)))
        for block in (layer - 1, layer, layer + 1)
        if block < smollm2.n_layers
    }
    assert found.pop(layer) < TOLERANCE
    assert min(found.values()) > 1, "the same vector on a neighbouring block is another thing"
    assert apart(answer.logits_TV, ours_TV(smollm2, ids)) > 1


def test_all_layers_at_once(
    llama_cpp: LlamaCpp, smollm2: LanguageModel, smollm2_gguf: Path, vector: SteeringVector, tmp_path: Path
) -> None:
    file, coefficient = tmp_path / "v.gguf", 0.25
    save_vector(file, vector, "gguf")
    answer = llama_cpp.answer(smollm2_gguf, PROMPT, "--control-vector-scaled", f"{file}:{coefficient}")
    ids = answer.ids_T.tolist()
    added = [(layer, coefficient * vector.direction_D(layer)) for layer in vector.layers]
    assert apart(answer.logits_TV, ours_TV(smollm2, ids, *added[1:])) < TOLERANCE
    assert apart(answer.logits_TV, ours_TV(smollm2, ids, *added)) > 1, "layer 0 was left out, and that is said"


def test_a_file_of_one_layer(
    llama_cpp: LlamaCpp, smollm2: LanguageModel, smollm2_gguf: Path, vector: SteeringVector, tmp_path: Path
) -> None:
    file, layer = tmp_path / "v.gguf", 20
    one = SteeringVector(vector.directions_LD[[layer]], (layer,), None, "", "", "", "", "", model_type="llama")
    assert save_vector(file, one, "gguf") == ()
    answer = llama_cpp.answer(smollm2_gguf, PROMPT, "--control-vector-scaled", f"{file}:{-COEFFICIENT}")
    steered_TV = ours_TV(smollm2, answer.ids_T.tolist(), (layer, -COEFFICIENT * vector.direction_D(layer)))
    assert apart(answer.logits_TV, steered_TV) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "dtype", "says"), [("direction.0", np.float32, "zero"), ("direction.5", np.float16, "non-F32")]
)
def test_what_we_say_that_llama_cpp_refuses(
    llama_cpp: LlamaCpp,
    smollm2: LanguageModel,
    smollm2_gguf: Path,
    tmp_path: Path,
    name: str,
    dtype: type,
    says: str,
) -> None:
    file = tmp_path / "v.gguf"
    writer = gguf.GGUFWriter(file, "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_tensor(name, np.full(576, 100, dtype))
    writer.add_tensor("direction.10", np.full(576, 100, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert any("llama.cpp" in note for note in open_vector(file).notes)
    answer = llama_cpp.answer(smollm2_gguf, PROMPT, "--control-vector", str(file))
    assert says in answer.log
    assert apart(answer.logits_TV, ours_TV(smollm2, answer.ids_T.tolist())) < TOLERANCE, "unsteered, as the note says"
