"""Packed batches against one conversation at a time, for every architecture, budget and mask."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.generation.padded import pad_left
from steer_llama.lm.layers import residual_of
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, PackedReader, Pooled, Wanted
from steer_llama.lm.reading.alone import AloneReader, read_alone
from steer_llama.lm.reading.suitable import obstacle
from steer_llama.lm.score import pad_right
from tests.lm.models import ARCHITECTURES, random_model

ALL = Wanted((0, 1, 2), tokens=True)
Group = tuple[Conversation, Conversation]


def conversation(tokens: list[int], prompt: int) -> Conversation:
    """With three masks: the answer, its first token, and nothing."""
    place = np.arange(len(tokens))
    return Conversation(np.array(tokens, np.int32), np.array([place >= prompt, place == prompt, place < 0]))


def groups(root: int, count: int = 5) -> list[Group]:
    """Pairs whose prompts begin with ``root`` tokens in common; the last pair has the first one's prompt too."""
    random = np.random.default_rng(root)
    begin = random.integers(3, 60, root).tolist()
    prompts = [begin + random.integers(3, 60, random.integers(2, 8)).tolist() for _ in range(count)]
    prompts[-1] = prompts[0]
    return [
        (
            conversation([*prompt, 3, *random.integers(3, 60, random.integers(9, 25))], len(prompt)),
            conversation([*prompt, 4, *random.integers(3, 60, random.integers(9, 25))], len(prompt)),
        )
        for prompt in prompts
    ]


def read(reader: PackedReader | AloneReader, pairs: list[Group], wanted: Wanted = ALL) -> list[tuple[Pooled, Pooled]]:
    found: dict[int, tuple[Pooled, Pooled]] = {}
    for batch in reader.batches(pairs).groups:
        arms = reader.read([arm for number in batch for arm in pairs[number]], wanted)
        found |= {number: (arms[2 * k], arms[2 * k + 1]) for k, number in enumerate(batch)}
    return [found[number] for number in range(len(pairs))]


def assert_same(found: Pooled, expected: Pooled, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(found.mean_PLD, expected.mean_PLD, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.norm_L, expected.norm_L, rtol=tolerance)
    assert (found.tokens_LTD is None) == (expected.tokens_LTD is None)
    if found.tokens_LTD is not None and expected.tokens_LTD is not None:
        torch.testing.assert_close(found.tokens_LTD, expected.tokens_LTD, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_batch_equals_each_by_itself(architecture: str) -> None:
    model = random_model(architecture)
    for root in (0, 17):
        pairs = groups(root)
        expected = [(read_alone(model, a, ALL), read_alone(model, b, ALL)) for a, b in pairs]
        # All in one pass; several batches; passes that cut through conversations.
        for budget in (1000, 80, 21):
            for found, alone in zip(read(PackedReader(model, budget), pairs), expected, strict=True):
                assert_same(found[0], alone[0])
                assert_same(found[1], alone[1])


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_left_and_right_padding_agree_with_no_padding(architecture: str) -> None:
    model = random_model(architecture)
    sequences = [each.ids_T.tolist() for pair in groups(0, 2) for each in pair]
    longest = max(map(len, sequences))
    for ids_BT, attention_BT in (pad_left(sequences, 0), pad_right(sequences, 0)):
        outputs: dict[int, torch.Tensor] = {}
        position_BT = (attention_BT.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad(), reading(model, outputs.__setitem__):
            model.decoder(input_ids=ids_BT, attention_mask=attention_BT, position_ids=position_BT, use_cache=False)
        for row, sequence in enumerate(sequences):
            alone: dict[int, torch.Tensor] = {}
            with torch.no_grad(), reading(model, alone.__setitem__):
                run_blocks(model, torch.tensor([sequence]))
            for layer in range(3):
                padded = outputs[layer][row][attention_BT[row].bool()]
                torch.testing.assert_close(padded, alone[layer][0], rtol=2e-5, atol=2e-5)
    assert longest > min(map(len, sequences))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_tested_architecture_is_packed(architecture: str) -> None:
    reason = obstacle(random_model(architecture))
    if architecture == "llama4_text":
        assert reason is not None
        assert "chunked_attention" in reason
    else:
        assert reason is None


def test_nothing_above_the_deepest_layer_runs(tiny_llama: LanguageModel) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(tiny_llama.blocks)
    ]
    try:
        found = read(PackedReader(tiny_llama, 1000), groups(0), Wanted((0, 1)))
    finally:
        for handle in handles:
            handle.remove()
    assert sorted(set(ran)) == [0, 1]
    full = read(PackedReader(tiny_llama, 1000), groups(0))
    np.testing.assert_array_equal(found[0][0].mean_PLD, full[0][0].mean_PLD[:, :2])


def test_the_same_batches_give_the_same_bits(tiny_llama: LanguageModel) -> None:
    pairs = groups(17)
    once, twice = (read(PackedReader(tiny_llama, 60), pairs) for _ in range(2))
    for first, second in zip(once, twice, strict=True):
        np.testing.assert_array_equal(first[0].mean_PLD, second[0].mean_PLD)


def test_a_batch_read_after_a_stop_has_the_bits_of_an_unbroken_run(tiny_llama: LanguageModel) -> None:
    pairs = groups(17)
    unbroken = read(PackedReader(tiny_llama, 60), pairs)
    reader = PackedReader(tiny_llama, 1000)
    last = reader.batches(pairs, 60).groups[-1]
    arms = reader.read([arm for number in last for arm in pairs[number]], ALL)
    for place, number in enumerate(last):
        np.testing.assert_array_equal(arms[2 * place].mean_PLD, unbroken[number][0].mean_PLD)


def test_masks_in_what_two_conversations_share(tiny_llama: LanguageModel) -> None:
    shared = list(range(3, 23))
    first, second = conversation([*shared, 5, 6], 4), conversation([*shared, 7], 9)
    reader = PackedReader(tiny_llama, 1000)
    reader.batches([(first, second)])
    for found, each in zip(reader.read([first, second], ALL), (first, second), strict=True):
        assert_same(found, read_alone(tiny_llama, each, ALL))


def test_the_attention_is_put_back_after_an_error(tiny_llama: LanguageModel) -> None:
    before = tiny_llama.hf.config._attn_implementation
    reader = PackedReader(tiny_llama, 1000)
    bad = conversation([5, 6, 10_000], 1)
    reader.batches([(bad, bad)])
    with pytest.raises(IndexError):
        reader.read([bad, bad], ALL)
    assert tiny_llama.hf.config._attn_implementation == before


class _Deaf(torch.nn.Module):  # type: ignore[misc]
    """Attention that looks at everything, whatever it is told."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, hidden_states: torch.Tensor, **_how: Any) -> tuple[torch.Tensor, None]:
        return hidden_states + hidden_states.mean(dim=1, keepdim=True), None


def test_a_model_that_does_not_listen_is_read_one_by_one() -> None:
    model = random_model("llama")
    for block in model.blocks:
        block.self_attn = _Deaf(block.self_attn)
    reason = obstacle(model)
    assert reason is not None
    assert "a trial was" in reason
    pairs = groups(0)
    reader = AloneReader(replace(model), reason)
    assert reason in reader.batches(pairs).reason
    assert_same(read(reader, pairs)[1][0], read_alone(model, pairs[1][0], ALL), 0.0)


def test_numbers_that_are_none_do_not_pass_the_trial() -> None:
    model = random_model("llama")
    model.blocks[1].mlp.down_proj.weight.fill_(torch.nan)
    assert "a trial was nan off" in str(obstacle(model))


def test_a_rotation_that_depends_on_the_whole_pass_is_read_one_by_one() -> None:
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "rope_type": "longrope", "rope_theta": 1e4}
    model = random_model("phi3", rope_parameters=factors, original_max_position_embeddings=16)
    assert "rotary embedding depends" in str(obstacle(model))


def test_a_long_common_beginning_keeps_to_the_budget(tiny_llama: LanguageModel) -> None:
    pairs = groups(50)
    expected = [(read_alone(tiny_llama, a, ALL), read_alone(tiny_llama, b, ALL)) for a, b in pairs]
    rows: list[int] = []
    handle = tiny_llama.blocks[0].register_forward_hook(lambda _m, _i, out: rows.append(residual_of(out).shape[1]))
    try:
        found = read(PackedReader(tiny_llama, 20), pairs)
    finally:
        handle.remove()
    assert max(rows) <= 20
    for pair, alone in zip(found, expected, strict=True):
        assert_same(pair[0], alone[0])
        assert_same(pair[1], alone[1])


def test_an_untested_window_is_read_one_by_one() -> None:
    model = random_model("granite")
    model.text_config.sliding_window = 8
    assert "sliding window" in str(obstacle(model))
