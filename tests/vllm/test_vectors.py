"""A vector's file for vllm-lens: loaded by its own class in a real vLLM, it steers as our hook does there."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.config import Sampling
from steer_llama.lm.embedded import embedded_folder
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import SilentReporter
from steer_llama.stages.export import Wanted, export
from steer_llama.vectors import SteeringVector, open_vector, write_vector
from tests.vllm.conftest import ROOT

pytestmark = pytest.mark.vllm

LAYER, STRENGTH, TOKENS = 12, 0.4, 32

WORKER = """
import json, sys
import torch
from vllm import LLM, SamplingParams
from vllm_lens import SteeringVector

asked = json.load(sys.stdin)
loaded = SteeringVector.model_validate_json(open(asked["vector"]).read())
llm = LLM(asked["model"], enforce_eager=True, dtype="float32", max_model_len=512, enable_prefix_caching=False)
texts = []
for extra in (None, {"apply_steering_vectors": [loaded]}):
    how = SamplingParams(temperature=0, max_tokens=asked["tokens"], extra_args=extra)
    (answer,) = llm.generate([{"prompt_token_ids": asked["ids"]}], how, use_tqdm=False)
    texts.append(answer.outputs[0].text.strip())
json.dump(loaded.model_dump(mode="json"), open(asked["again"], "w"))
halved = SteeringVector(activations=loaded.activations.to(torch.bfloat16), layer_indices=loaded.layer_indices, scale=2)
json.dump([halved.model_dump(mode="json")], open(asked["halved"], "w"))
print("ANSWERS", json.dumps(texts))
"""


@dataclass(frozen=True)
class Steered:
    """What vLLM made of our file."""

    folder: Path
    exported: SteeringVector
    ids: list[int]
    unsteered: str
    steered: str


@pytest.fixture(scope="module")
def steered(smollm2: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    folder = tmp_path_factory.mktemp("lens")
    random = np.random.default_rng(5)
    layers = (LAYER - 1, LAYER, LAYER + 1)
    vector = SteeringVector(
        directions_LD=random.standard_normal((3, smollm2.width)).astype(np.float32),
        layers=layers,
        residual_norm_L=np.array([40, 50, 60], np.float32),
        model=smollm2.name,
        model_fingerprint=smollm2.fingerprint,
        trait="none",
        estimator="random",
        positions="response",
        evidence={"pairs": 0},
    )
    write_vector(folder / "v.safetensors", vector)
    wanted = Wanted(layers=(LAYER,), strength=STRENGTH)
    export(folder / "v.safetensors", "vllm-lens", folder / "v.json", SilentReporter(), wanted)
    ids = list(encode_prompt(smollm2.tokenizer, [{"role": "user", "content": "What should I do at the beach?"}]))
    asked = {
        "vector": str(folder / "v.json"),
        "model": str(embedded_folder(SilentReporter())),
        "ids": ids,
        "tokens": TOKENS,
        "again": str(folder / "again.json"),
        "halved": str(folder / "halved.json"),
    }
    script = ROOT / "scripts" / "local-vllm"
    subprocess.run([script, "install"], check=True)
    python = subprocess.run([script, "python"], check=True, capture_output=True, text=True).stdout.strip()
    surroundings = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }
    surroundings.pop("VLLM_LENS_DISABLE", None)
    worker = [python, "-c", WORKER]
    done = subprocess.run(
        worker, env=surroundings, input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("ANSWERS "))
    unsteered, text = json.loads(line.removeprefix("ANSWERS "))
    yield Steered(folder, open_vector(folder / "v.json").vector, ids, unsteered, text)


def ours(model: LanguageModel, ids: list[int], steering: Steering | None) -> str:
    row = Row(tuple(ids), 0, steering)
    ((_, answer),) = next(generate(model, [row], Sampling(temperature=0, max_tokens=TOKENS), 1))
    return answer.text


def test_vllm_lens_steers_as_our_hook_does(smollm2: LanguageModel, steered: Steered) -> None:
    vector = steered.exported
    assert vector.layers == (LAYER,)
    assert np.linalg.norm(vector.direction_D(LAYER)) == pytest.approx(STRENGTH * 50, rel=1e-6)
    added_D = torch.from_numpy(vector.direction_D(LAYER))
    assert steered.unsteered == ours(smollm2, steered.ids, None)
    assert steered.steered == ours(smollm2, steered.ids, Steering(LAYER, added_D))
    neighbours = [ours(smollm2, steered.ids, Steering(layer, added_D)) for layer in (LAYER - 1, LAYER + 1)]
    assert steered.steered not in [steered.unsteered, *neighbours], "a layer too early or too late would be seen"


def test_what_vllm_lens_writes_is_read(steered: Steered) -> None:
    given = steered.exported.directions_LD
    reading = open_vector(steered.folder / "again.json")
    assert (reading.format, reading.notes, reading.vector.layers) == ("vllm-lens", (), (LAYER,))
    assert reading.vector.directions_LD.tobytes() == given.tobytes()
    halved = open_vector(steered.folder / "halved.json")
    expected = torch.from_numpy(given).to(torch.bfloat16).float().numpy() * 2
    assert halved.vector.directions_LD.tobytes() == expected.tobytes()
    assert len(halved.notes) == 1
