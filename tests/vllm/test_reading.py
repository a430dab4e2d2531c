"""The residual stream through a real vLLM, in a worker and over HTTP: the same layer L as the default backend's."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from steer_llama.activations.engine import encode_pair
from steer_llama.activations.positions import check_positions, masks_of
from steer_llama.config import DEFAULT_POSITIONS, ExtractSettings, ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, Pooled, Reader, Wanted, open_reader
from steer_llama.lm.reading.alone import read_alone
from steer_llama.progress import SilentReporter
from steer_llama.records import Message, Pair
from tests.vllm.conftest import ROOT, Vllm
from tests.vllm.test_judge import ANSWERS

pytestmark = pytest.mark.vllm

EVERY_LAYER = Wanted(tuple(range(30)), tokens=True)
TOLERANCE = 1e-4
"""Relative, a token; measured: 7e-6. Neighbouring layers differ by 0.01 and more."""


@pytest.fixture(scope="module")
def groups(smollm2: LanguageModel) -> list[list[Conversation]]:
    """Pairs with the same beginning, so that a cached one would be noticed."""
    positions = check_positions(DEFAULT_POSITIONS)
    made = []
    for question, (chosen, rejected) in ANSWERS.items():
        asked = (Message(role="system", content="Talk as you like. " * 40), Message(role="user", content=question))
        pair = encode_pair(smollm2, Pair(prompt=asked, chosen=chosen, rejected=rejected, name=question))
        made.append(
            [Conversation(np.array(a.ids, np.int32), masks_of(a, pair.divergence, positions)) for a in pair.arms]
        )
    return made


@pytest.fixture(scope="module")
def lens_url() -> Iterator[str]:
    """A server of our own: the one that the other tests talk to is vLLM as it comes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script, own_port = ROOT / "scripts" / "local-vllm", {**os.environ, "STEER_LLAMA_VLLM_PORT": port}
    subprocess.run([script, "start", "--lens"], check=True, env=own_port)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        subprocess.run([script, "stop"], check=True, env=own_port)


def opened(where: str) -> Reader:
    return open_reader(ModelSettings(path=where, device="cpu"), ExtractSettings(backend="vllm"), SilentReporter())


def assert_same(found: Pooled, expected: Pooled) -> None:
    assert found.tokens_LTD is not None
    assert expected.tokens_LTD is not None
    assert found.tokens_LTD.shape == expected.tokens_LTD.shape
    pairs = [
        (found.mean_PLD, expected.mean_PLD),
        (found.tokens_LTD.numpy(), expected.tokens_LTD.numpy()),
    ]
    for mine, theirs in pairs:
        error = np.linalg.norm(mine - theirs, axis=-1)
        assert (error <= TOLERANCE * np.linalg.norm(theirs, axis=-1)).all()
    np.testing.assert_allclose(found.norm_L, expected.norm_L, rtol=TOLERANCE)


def assert_reads_as_the_default_backend(
    reader: Reader, smollm2: LanguageModel, groups: list[list[Conversation]]
) -> None:
    assert (reader.fingerprint, reader.dtype) == (smollm2.fingerprint, smollm2.dtype)
    assert (reader.n_layers, reader.width) == (smollm2.n_layers, smollm2.width)
    assert reader.batches(groups, 512).groups == ((0,), (1,), (2,))
    for group in groups:
        for asked, found in zip(group, reader.read(group, EVERY_LAYER), strict=True):
            assert_same(found, read_alone(smollm2, asked, EVERY_LAYER))
    # Read once more, when all of it could come from a cache, and only a part of the layers.
    again = reader.read([groups[0][0], groups[0][0]], Wanted((3, 17)))
    expected = read_alone(smollm2, groups[0][0], EVERY_LAYER).mean_PLD[:, [3, 17]]
    for pooled in again:
        assert np.linalg.norm(pooled.mean_PLD - expected) <= TOLERANCE * np.linalg.norm(expected)
        assert pooled.tokens_LTD is None


def test_a_worker_reads_the_same_layers(smollm2: LanguageModel, groups: list[list[Conversation]]) -> None:
    reader = opened("smollm2")
    try:
        assert_reads_as_the_default_backend(reader, smollm2, groups)
        with pytest.raises(ModelError, match=r"longer than|too long|maximum"):
            reader.read([Conversation(np.ones(2000, np.int32), np.ones((1, 2000), bool))], Wanted((0,)))
        assert len(reader.read(groups[1], Wanted((0,)))) == 2, "the worker lives on"
    finally:
        reader.close()


def test_a_model_that_vllm_cannot_load(tmp_path: Path, smollm2: LanguageModel) -> None:
    smollm2.tokenizer.save_pretrained(tmp_path)
    smollm2.hf.config.save_pretrained(tmp_path)  # and no weights
    reader = opened(str(tmp_path))
    with pytest.raises(ModelError, match=r"vLLM .*weights"):
        reader.read([Conversation(np.ones(5, np.int32), np.ones((1, 5), bool))], Wanted((0,)))
    reader.close()


def test_a_server_reads_the_same_layers(
    lens_url: str, smollm2: LanguageModel, groups: list[list[Conversation]]
) -> None:
    reader = opened(lens_url)
    assert_reads_as_the_default_backend(reader, smollm2, groups)
    with pytest.raises(ModelError, match="refused with status 400"):
        reader.read([Conversation(np.ones(5000, np.int32), np.ones((1, 5000), bool))], Wanted((0,)))
    reader.close()


def test_a_server_without_vllm_lens_is_told(vllm: Vllm) -> None:
    with pytest.raises(ModelError, match="answers without activations"):
        opened(vllm.base_url)
