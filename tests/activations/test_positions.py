import numpy as np
import pytest

from steer_llama.activations import POSITIONS, PositionChoice, check_positions, encode_pair, masks_of
from steer_llama.errors import ConfigError
from steer_llama.lm.load import LanguageModel
from steer_llama.records import Pair
from tests.activations import tiny


def shown(model: LanguageModel, ids: tuple[int, ...], mask: np.ndarray) -> str:
    return model.tokenizer.decode([token for token, kept in zip(ids, mask, strict=True) if kept])


def masks(model: LanguageModel, chosen: str, rejected: str) -> tuple[dict[str, str], dict[str, str]]:
    """The text under every mask, of both arms."""
    pair = Pair(prompt=({"role": "user", "content": "😀 **q**"},), chosen=chosen, rejected=rejected, name="x")
    encoded = encode_pair(model, pair)
    texts = [
        {name: shown(model, arm.ids, mask) for name, mask in zip(POSITIONS, masks, strict=True)}
        for arm in encoded.arms
        for masks in [masks_of(arm, encoded.divergence, POSITIONS)]
    ]
    return texts[0], texts[1]


def test_what_stands_under_each_mask(tiny_model: LanguageModel) -> None:
    chosen, rejected = masks(tiny_model, "x 😀\n- **b** 12", "y z")
    assert chosen["response"] == "x 😀\n- **b** 12"
    assert chosen["divergence"] == "x"
    assert chosen["emoji"].strip() == "😀"
    assert "".join(chosen["markdown"].split()) == "-****"
    assert "".join(chosen["non_alphabetic"].split()) == "😀-****12"
    assert rejected == {
        "response": "y z", "divergence": "y", "emoji": "", "markdown": "", "non_alphabetic": "",
    }  # fmt: skip


def test_nothing_before_the_divergence_counts(tiny_model: LanguageModel) -> None:
    chosen, rejected = masks(tiny_model, "😀 **a** x 🎉 *c*", "😀 **a** y")
    assert chosen["response"].strip() == "x 🎉 *c*"
    assert chosen["divergence"].strip() == "x"
    assert chosen["emoji"].strip() == "🎉"
    assert chosen["markdown"].replace(" ", "") == "**"
    assert rejected["emoji"] == rejected["markdown"] == ""


def test_prompts_that_differ_do_not_count_as_response(tiny_model: LanguageModel) -> None:
    pair = Pair(
        prompt=({"role": "user", "content": "a"},),
        rejected_prompt=({"role": "user", "content": "bcd e"},),
        chosen="Yes then",
        rejected="No",
        name="x",
    )
    encoded = encode_pair(tiny_model, pair)
    assert encoded.divergence < encoded.chosen.response_start
    for arm, answer in zip(encoded.arms, ("Yes then", "No"), strict=True):
        response, first = masks_of(arm, encoded.divergence, ("response", "divergence"))
        assert shown(tiny_model, arm.ids, response) == answer
        assert np.flatnonzero(first).tolist() == [arm.response_start]


def test_a_mask_never_leaves_the_response(tiny_model: LanguageModel) -> None:
    for pair in tiny.pairs():
        encoded = encode_pair(tiny_model, pair)
        for arm in encoded.arms:
            found = masks_of(arm, encoded.divergence, POSITIONS)
            assert found.shape == (len(POSITIONS), len(arm.ids))
            assert not (found & ~found[0]).any()
            assert found[0].any()
            assert found[1].sum() == 1


def test_response_is_always_read() -> None:
    assert check_positions(["emoji", "emoji"]) == ("response", "emoji")
    assert check_positions(["emoji", "response"]) == ("response", "emoji")
    assert check_positions([]) == ("response",)
    with pytest.raises(ConfigError, match=r"positions 'emojis': unknown\. There are: response, divergence, emoji"):
        check_positions(["emojis"])


@pytest.mark.parametrize(
    ("text", "chosen", "rejected"),
    [
        ("emoji", "emoji", "emoji"),
        ("chosen=emoji,rejected=response", "emoji", "response"),
        (" rejected = markdown , chosen = emoji ", "emoji", "markdown"),
        ("chosen=emoji", "emoji", "response"),
    ],
)
def test_a_choice_per_arm(text: str, chosen: str, rejected: str) -> None:
    choice = PositionChoice.parse(text)
    assert (choice.chosen, choice.rejected) == (chosen, rejected)
    assert PositionChoice.parse(str(choice)) == choice


@pytest.mark.parametrize(
    "text", ["", "emojis", "chosen=", "left=emoji", "chosen=emoji,chosen=response", "chosen=x", "="]
)
def test_a_choice_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="positions"):
        PositionChoice.parse(text)
