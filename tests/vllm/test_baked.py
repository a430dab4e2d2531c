"""A baked folder in a stock vLLM: it steers without knowing it, to the same greedy text as a transformers hook."""

import json
import os
import subprocess
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.config import ModelSettings, Sampling
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering
from steer_llama.progress import SilentReporter
from steer_llama.stages.bake import bake
from steer_llama.vectors import SteeringVector
from tests.vllm.conftest import ROOT

pytestmark = pytest.mark.vllm

PROMPTS = ("The sea is", "At the beach you should", "The best thing about rain is that", "Hello! How are you?")
TOKENS = 32

_SERVE = textwrap.dedent("""
    import json, sys
    from vllm import LLM, SamplingParams
    folder, prompts, tokens, out = sys.argv[1:]
    llm = LLM(folder, dtype="float32", enforce_eager=True, max_model_len=256)
    given = [{"prompt_token_ids": ids} for ids in json.loads(prompts)]
    done = llm.generate(given, SamplingParams(temperature=0, max_tokens=int(tokens)), use_tqdm=False)
    with open(out, "w") as file:
        json.dump([answer.outputs[0].text for answer in done], file)
""")


def vllm_texts(folder: Path, ids: list[list[int]], out: Path) -> list[str]:
    asked = subprocess.run([ROOT / "scripts" / "local-vllm", "python"], check=True, capture_output=True, text=True)
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LENS_DISABLE": "1"}
    quiet |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [asked.stdout.strip(), "-c", _SERVE, str(folder), json.dumps(ids), str(TOKENS), str(out)]
    ran = subprocess.run(command, env=os.environ | quiet, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    texts: list[str] = json.loads(out.read_text(encoding="utf-8"))
    return texts


def texts_of(model: LanguageModel, rows: list[Row]) -> list[str]:
    sampling = Sampling(temperature=0, max_tokens=TOKENS)
    answers = dict(pair for batch in generate(model, rows, sampling, 1) for pair in batch)
    return [answers[index].text for index in range(len(rows))]


def test_the_same_greedy_text_as_the_hook(smollm2: LanguageModel, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    vector = SteeringVector(
        generator.standard_normal((30, 576)).astype(np.float32), tuple(range(30)), np.full(30, 150, np.float32),
        "smollm2", smollm2.fingerprint, "noise", "mean_difference", "response",
    )  # fmt: skip
    settings = ModelSettings(path="smollm2", device="cpu")
    bake(vector, settings, tmp_path / "baked", SilentReporter(), layers=[12], strength=0.4, verify=False)
    ids = [smollm2.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    steered = Steering(12, torch.from_numpy(vector.scaled_D(12, 0.4)))
    expected = texts_of(smollm2, [Row(tuple(row), 0, steered) for row in ids])
    plain = texts_of(smollm2, [Row(tuple(row), 0) for row in ids])
    assert all(a != b for a, b in zip(expected, plain, strict=True)), "the vector changes every text"
    found = vllm_texts(tmp_path / "baked", ids, tmp_path / "texts.json")
    assert [text.strip() for text in found] == [text.strip() for text in expected]
