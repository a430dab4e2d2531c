"""The backend transformer_lens against the default one: the same layer L, the same means, nothing computed in vain."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, Pooled, Reader, Wanted, open_reader
from steer_llama.lm.reading.alone import read_alone
from steer_llama.lm.reading.bridge import BridgeReader
from steer_llama.lm.tokens import encode_answer
from steer_llama.progress import SilentReporter
from steer_llama.records import Message
from tests.lm.models import ARCHITECTURES, random_model, save_tiny_llama

IDS = np.array([5, 9, 33, 7, 41, 12, 3, 60, 28, 17, 11, 50], np.int32)
ALL = Wanted((0, 1, 2), tokens=True)
WRAPPED = sorted(set(ARCHITECTURES) - {"gpt_neox"})
"""GPT-NeoX has no key-value heads of its own, and TransformerLens trips over the ones in our made-up configuration."""


def conversation(ids: np.ndarray = IDS) -> Conversation:
    position = np.arange(len(ids))
    return Conversation(ids, np.stack([position >= 4, position == 7, position < 0, position >= 0]))


def opened(path: Path | str, backend: str, **settings: object) -> Reader:
    model = ModelSettings.model_validate({"path": str(path), "device": "cpu", **settings})
    return open_reader(model, ExtractSettings.model_validate({"backend": backend}), SilentReporter())


def assert_same(found: Pooled, expected: Pooled, layers: tuple[int, ...], rtol: float = 1e-5) -> None:
    at = list(layers)
    for name, mine, theirs in (
        ("mean", found.mean_PLD, expected.mean_PLD[:, at]),
        ("norm", found.norm_L, expected.norm_L[at]),
    ):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=rtol * scale, err_msg=name)
    if found.tokens_LTD is not None:
        assert expected.tokens_LTD is not None
        theirs = expected.tokens_LTD[at].float()
        error = (found.tokens_LTD.float() - theirs).norm(dim=-1) / theirs.norm(dim=-1)
        assert found.tokens_LTD.shape == theirs.shape
        assert error.max() < rtol


@pytest.mark.parametrize("architecture", WRAPPED)
def test_layer_L_is_that_of_the_default_backend(architecture: str) -> None:
    expected = read_alone(random_model(architecture), conversation(), ALL)
    reader = BridgeReader(random_model(architecture))
    for wanted in (ALL, Wanted((1,)), Wanted((0, 2), tokens=True)):
        assert_same(reader.read([conversation()], wanted)[0], expected, wanted.layers)
    # A check that cannot fail is none: neighbouring layers are far apart.
    difference = np.abs(expected.mean_PLD[0, 1:] - expected.mean_PLD[0, :-1]).max()
    assert difference > 1e-3 * np.abs(expected.mean_PLD).max()


def test_it_opens_as_the_default_backend_does(tmp_path: Path) -> None:
    folder = save_tiny_llama(tmp_path / "tiny")
    theirs, mine = (opened(folder, backend) for backend in ("transformers", "transformer_lens"))
    for fact in ("name", "fingerprint", "dtype", "n_layers", "width", "context_length"):
        assert getattr(mine, fact) == getattr(theirs, fact), fact
    assert mine.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()
    assert mine.tokenizer.chat_template == theirs.tokenizer.chat_template
    group = [conversation(), conversation(IDS[::-1].copy())]
    assert mine.batches([group, group[:1]]).groups == ((0,), (1,))
    theirs.batches([group])
    for found, expected in zip(mine.read(group, ALL), theirs.read(group, ALL), strict=True):
        assert_same(found, expected, ALL.layers)


def test_the_default_backend_is_not_touched(tmp_path: Path) -> None:
    folder = save_tiny_llama(tmp_path / "tiny")
    theirs = opened(folder, "transformers")
    theirs.batches([[conversation()]])
    before = theirs.read([conversation()], ALL)[0]
    opened(folder, "transformer_lens").read([conversation()], ALL)
    again = opened(folder, "transformers")
    again.batches([[conversation()]])
    np.testing.assert_array_equal(again.read([conversation()], ALL)[0].mean_PLD, before.mean_PLD)


@pytest.mark.parametrize("deepest", [0, 2])
def test_nothing_above_the_deepest_layer_is_computed(deepest: int) -> None:
    model = random_model("llama")
    above = [model.hf.get_output_embeddings(), *list(model.blocks)[deepest + 1 :]]
    handles = [module.register_forward_hook(lambda *_: pytest.fail("computed in vain")) for module in above]
    reader = BridgeReader(model)
    pooled = reader.read([conversation()], Wanted((deepest,)))[0]
    assert pooled.mean_PLD.shape == (4, 1, 32)
    assert pooled.tokens_LTD is None
    for handle in handles:
        handle.remove()


def test_hooks_are_gone_also_after_an_error() -> None:
    reader = BridgeReader(random_model("llama"))
    before = reader.read([conversation()], ALL)[0].mean_PLD
    with pytest.raises((ModelError, IndexError)):
        reader.read([conversation(np.array([10**6], np.int32))], ALL)
    assert not any(point.fwd_hooks for point in reader.bridge.hook_dict.values())
    np.testing.assert_array_equal(reader.read([conversation()], ALL)[0].mean_PLD, before)


def test_bfloat16_tokens_keep_their_type(tmp_path: Path) -> None:
    reader = opened(save_tiny_llama(tmp_path / "tiny"), "transformer_lens", dtype="bfloat16")
    pooled = reader.read([conversation()], ALL)[0]
    assert reader.dtype == "bfloat16"
    assert pooled.mean_PLD.dtype == np.float32
    assert pooled.tokens_LTD is not None
    assert pooled.tokens_LTD.dtype == torch.bfloat16


def test_what_transformer_lens_does_not_know_is_said() -> None:
    model = random_model("llama")

    class Unheard(type(model.hf)):  # type: ignore[misc]
        pass

    model.hf.__class__ = Unheard
    with pytest.raises(ModelError, match=r"TransformerLens cannot wrap Unheard .*--backend transformers"):
        BridgeReader(replace(model, name="unheard"))


@pytest.mark.slow
def test_every_layer_of_smollm2(smollm2: LanguageModel) -> None:
    asked = Message(role="user", content="What do you do on a rainy Sunday?")
    answer = encode_answer(smollm2.tokenizer, (asked,), "Ooh, make a huge pot of tea! 🌧️☕ **Then** read. 😄")
    ids_T = np.array(answer.ids, np.int32)
    real = Conversation(ids_T, (np.arange(len(ids_T)) >= answer.response_start)[None])
    wanted = Wanted(tuple(range(30)), tokens=True)
    reader = opened("smollm2", "transformer_lens")
    assert reader.fingerprint == smollm2.fingerprint
    assert_same(reader.read([real], wanted)[0], read_alone(smollm2, real, wanted), wanted.layers, 1e-4)
