"""Reading the residual stream, against transformers' own outputs and against TransformerLens."""

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from steer_llama.lm import embedded
from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.layers import decoder_blocks
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, Pooled, Wanted
from steer_llama.lm.reading.alone import read_alone
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import SilentReporter
from tests.lm.models import ARCHITECTURES, random_model

IDS = [5, 9, 33, 7, 41, 12, 3, 60, 28, 17, 11, 50]


def hidden_LTD(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    """Every block's output, the last taken where the final norm gets it: independent of our hooks."""
    last: list[torch.Tensor] = []
    norm = next(module for name, module in model.hf.named_modules() if name.split(".")[-1] in FINAL_NORMS)
    handle = norm.register_forward_pre_hook(lambda _module, inputs: last.append(inputs[0]))
    with torch.no_grad():
        hidden = model.hf(torch.tensor([ids]), output_hidden_states=True).hidden_states
    handle.remove()
    assert not torch.allclose(last[0], hidden[-1], atol=1e-3), "transformers' last entry is normed"
    return torch.stack([state[0] for state in (*hidden[1:-1], last[0])])


FINAL_NORMS = ("norm", "final_layernorm", "ln_f", "final_layer_norm")


def pool(model: LanguageModel, ids: list[int], mask_PT: np.ndarray, *, keep_tokens: bool) -> Pooled:
    conversation = Conversation(np.array(ids, np.int32), mask_PT)
    return read_alone(model, conversation, Wanted(tuple(range(model.n_layers)), keep_tokens))


def masks(*rows: set[int]) -> np.ndarray:
    return np.array([[position in row for position in range(len(IDS))] for row in rows])


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_layer_L_is_block_L_of_every_architecture(architecture: str) -> None:
    model = random_model(architecture)
    assert (model.n_layers, model.width, model.context_length) == (3, 32, 64)
    assert decoder_blocks(model.hf) is model.blocks
    pooled = pool(model, IDS, masks(set(range(len(IDS)))), keep_tokens=True)
    assert pooled.tokens_LTD is not None
    # Sampled attention kernels may differ by rounding, nothing else.
    torch.testing.assert_close(pooled.tokens_LTD, hidden_LTD(model, IDS), rtol=1e-5, atol=1e-5)


def test_means_norms_and_empty_masks(tiny_llama: LanguageModel) -> None:
    mask_PT = masks({4, 5, 6, 7, 8}, {7}, set(), set(range(12)))
    pooled = pool(tiny_llama, IDS, mask_PT, keep_tokens=True)
    reference = hidden_LTD(tiny_llama, IDS).double().numpy()
    for index, mask_T in enumerate(mask_PT):
        expected = reference[:, mask_T].mean(axis=1) if mask_T.any() else np.zeros((3, 32))
        np.testing.assert_allclose(pooled.mean_PLD[index], expected, atol=1e-5)
    assert not pooled.mean_PLD[2].any()
    norms = np.linalg.norm(reference[:, 4:9], axis=-1).mean(axis=1)
    np.testing.assert_allclose(pooled.norm_L, norms, rtol=1e-5)
    assert pooled.tokens_LTD is not None
    np.testing.assert_allclose(pooled.tokens_LTD.numpy(), reference[:, 4:9], atol=1e-5)


def test_nothing_is_kept_and_nothing_is_nan_without_tokens(tiny_llama: LanguageModel) -> None:
    pooled = pool(tiny_llama, IDS, masks(set(), {1}), keep_tokens=False)
    assert pooled.tokens_LTD is None
    assert np.isfinite(pooled.mean_PLD).all()
    assert not pooled.norm_L.any()
    empty = pool(tiny_llama, IDS, masks(set()), keep_tokens=True)
    assert empty.tokens_LTD is not None
    assert empty.tokens_LTD.shape == (3, 0, 32)


def test_hooks_are_gone_also_after_an_error(tiny_llama: LanguageModel) -> None:
    def fail(layer: int, hidden_BTD: torch.Tensor) -> None:
        raise ZeroDivisionError

    before = [dict(block._forward_hooks) for block in tiny_llama.blocks]  # transformers keeps hooks of its own
    with pytest.raises(ZeroDivisionError), reading(tiny_llama, fail):
        run_blocks(tiny_llama, torch.tensor([IDS]))
    with pytest.raises(IndexError):  # a token that the model does not have
        pool(tiny_llama, [10**6], np.ones((1, 1), dtype=bool), keep_tokens=False)
    assert [dict(block._forward_hooks) for block in tiny_llama.blocks] == before


def test_the_vocabulary_projection_is_not_computed(tiny_llama: LanguageModel) -> None:
    handle = tiny_llama.hf.get_output_embeddings().register_forward_hook(lambda *_: pytest.fail("projected"))
    try:
        pool(tiny_llama, IDS, masks({1}), keep_tokens=False)
    finally:
        handle.remove()


def test_padding_on_the_right_changes_nothing(tiny_llama: LanguageModel) -> None:
    with torch.no_grad():
        alone = run_blocks(tiny_llama, torch.tensor([IDS[:5]]))
        padded = run_blocks(
            tiny_llama, torch.tensor([[*IDS[:5], 0, 0], IDS[:7]]), torch.tensor([[1] * 5 + [0] * 2, [1] * 7])
        )
    torch.testing.assert_close(padded[:1, :5], alone, rtol=1e-5, atol=1e-5)


def test_layers_are_those_of_transformer_lens(smollm2: LanguageModel) -> None:
    bridge = TransformerBridge.boot_transformers(
        str(embedded.embedded_folder(SilentReporter())), device="cpu", dtype=torch.float32
    )
    ids = encode_prompt(smollm2.tokenizer, [{"role": "user", "content": "Tell me a joke 🎉"}])
    with torch.no_grad():
        _, cache = bridge.run_with_cache(torch.tensor([ids]))
    pooled = pool(smollm2, ids, np.ones((1, len(ids)), dtype=bool), keep_tokens=True)
    assert pooled.tokens_LTD is not None
    for layer in range(smollm2.n_layers):
        theirs = cache[f"blocks.{layer}.hook_resid_post"][0]
        error = (pooled.tokens_LTD[layer] - theirs).norm(dim=-1) / theirs.norm(dim=-1)
        assert error.max() < 1e-4, f"layer {layer}"
