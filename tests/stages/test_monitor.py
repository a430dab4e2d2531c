"""What `monitor` finds: the means that extraction would find, honest scales, and layers with a reason."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steer_llama.activations.positions import RESPONSE, masks_of
from steer_llama.config import ModelSettings
from steer_llama.errors import ConfigError, ContextLengthError, FileError, LayerError, RecordError, VectorError
from steer_llama.evaluation.along import colour_scale, massive_tokens
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, Wanted
from steer_llama.lm.reading.alone import read_alone
from steer_llama.lm.steering import Steering, steering
from steer_llama.lm.tokens import encode_answer
from steer_llama.progress import SilentReporter
from steer_llama.records import Message, Monitored
from steer_llama.stages import monitor as stage
from steer_llama.stages.axes import Chosen, choose
from steer_llama.stages.named_vectors import files_of, named
from steer_llama.stages.transcripts import Talk, read_given
from steer_llama.vectors import SteeringVector

TALK: tuple[Message, ...] = (
    {"role": "user", "content": "hello 🎉"},
    {"role": "assistant", "content": "the quick fox 👨‍👩‍👧 é\r\n[bold]&amp;<b>"},
    {"role": "user", "content": "more?"},
    {"role": "assistant", "content": "party 😀 party"},
)


def vector(model: LanguageModel | None = None, layers: tuple[int, ...] = (0, 1, 2), **more: Any) -> SteeringVector:
    width = model.width if model else 32
    given: dict[str, Any] = {
        "directions_LD": np.random.default_rng(1).standard_normal((len(layers), width)).astype(np.float32) * 3,
        "layers": layers,
        "residual_norm_L": np.arange(5, 5 + len(layers), dtype=np.float32),
        "model": model.name if model else "",
        "model_fingerprint": model.fingerprint if model else "",
        "trait": "emoji",
        "estimator": "mean_diff",
        "positions": "response",
    }
    return SteeringVector(**given | more)


def chosen(given: SteeringVector, *layers: int) -> list[Chosen]:
    return choose({"emoji": (Path("v"), given)}, [str(layer) for layer in layers])


@pytest.fixture
def look(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(stage, "load_model", lambda *_: tiny_llama)

    def run(axes: list[Chosen], *talks: Talk, **more: Any) -> Monitored:
        return stage.monitor(axes, ModelSettings(path="tiny"), talks, SilentReporter(), **more)

    return run


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_an_answers_mean_is_that_of_positions_response(look: Any, tiny_llama: LanguageModel, layer: int) -> None:
    given = vector(tiny_llama)
    found = look(chosen(given, layer), Talk("t", TALK))
    for index in (1, 3):
        answer = encode_answer(tiny_llama.tokenizer, TALK[:index], TALK[index]["content"])
        masks_PT = masks_of(answer, 0, [RESPONSE])
        pooled = read_alone(tiny_llama, Conversation(np.array(answer.ids, np.int32), masks_PT), Wanted((layer,)))
        direction_D = given.direction_D(layer).astype(np.float64)
        expected = pooled.mean_PLD[0, 0].astype(np.float64) @ direction_D / np.linalg.norm(direction_D)
        means = found.texts[0].messages[index].averages
        assert means.projection[0] == pytest.approx(expected, abs=1e-5)
        assert means.strength[0] == pytest.approx(expected / given.residual_norm(layer), abs=1e-6)
        assert means.tokens == masks_PT.sum()


def test_everything_hangs_together(look: Any, tiny_llama: LanguageModel) -> None:
    found = look(chosen(vector(tiny_llama), 0, 2), Talk("a", TALK), Talk("b", TALK[:2]))
    assert [axis.name for axis in found.axes] == ["emoji@0", "emoji@2"]
    first, second = found.texts
    for text, talk in ((first, TALK), (second, TALK[:2])):
        assert "".join(text.text[part.start : part.end] for part in text.parts) == text.text
        for index, message in enumerate(talk):
            parts = [part for part in text.parts if part.message == index]
            assert "".join(text.text[part.start : part.end] for part in parts) == message["content"]
            told = text.messages[index]
            assert (told.role, text.text[told.start : told.end]) == (message["role"], message["content"])
            tokens = sorted({token for part in parts for token in part.tokens})
            assert tokens == list(range(told.first_token, told.stop_token))
            mean = np.mean([text.strength[1][token] for token in tokens])
            assert told.averages.strength[1] == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(np.array(first.strength[1]) * 7, first.projection[1], rtol=1e-5)
    shared = len(second.token_ids) - 1
    np.testing.assert_allclose(second.projection[0][:shared], first.projection[0][:shared], atol=1e-4)
    answers = [text.messages[1].averages for text in (first, second)] + [first.messages[3].averages]
    expected = sum((each.projection[0] or 0) * each.tokens for each in answers) / sum(each.tokens for each in answers)
    assert found.roles["assistant"].projection[0] == pytest.approx(expected)
    assert list(found.roles) == ["user", "assistant"]
    assert json.loads(found.model_dump_json())["texts"][0]["text"] == first.text


def test_a_steered_text_is_shifted_by_the_strength(look: Any, tiny_llama: LanguageModel) -> None:
    given = vector(tiny_llama)
    axes, talk = chosen(given, 1), Talk("t", TALK)
    plain = look(axes, talk)
    with steering(tiny_llama, [Steering(1, torch.from_numpy(given.scaled_D(1, 0.25)))]):
        steered = look(axes, talk)
    shift_T = np.array(steered.texts[0].strength[0]) - np.array(plain.texts[0].strength[0])
    np.testing.assert_allclose(shift_T, 0.25, atol=1e-5)
    for before, after in zip(plain.texts[0].messages, steered.texts[0].messages, strict=True):
        assert after.averages.strength[0] == pytest.approx((before.averages.strength[0] or 0) + 0.25, abs=1e-5)
    assert steered.axes[0].centre == pytest.approx(plain.axes[0].centre + 0.25, abs=1e-5)


def test_the_first_token_does_not_wash_the_colours_out(smollm2: LanguageModel) -> None:
    given = vector(smollm2, (20,))
    talk = Talk(
        "t", ({"role": "user", "content": "Tell me about tea."}, {"role": "assistant", "content": "Tea is hot. ☕"})
    )
    found = stage.monitor(chosen(given), ModelSettings(path="smollm2", device="cpu"), [talk], SilentReporter())
    (axis,), (text,) = found.axes, found.texts
    assert 0 in text.massive[0]
    assert axis.layer_reason == "the only one that the vector has"
    answer = text.messages[1]
    values = np.array(text.strength[0][answer.first_token : answer.stop_token])
    assert axis.centre == pytest.approx(np.median(values), rel=1e-5)
    assert axis.limit <= np.abs(values - axis.centre).max() * 1.001
    assert answer.averages.massive == (0,)
    raw = stage.monitor(
        chosen(given), ModelSettings(path="smollm2", device="cpu"), [Talk("t", raw="Tea is hot.")], SilentReporter()
    )
    assert raw.raw
    (message,) = raw.texts[0].messages
    assert message.role == "text"
    assert message.averages.massive == (1,)
    ordinary = [value for index, value in enumerate(raw.texts[0].strength[0]) if index not in raw.texts[0].massive[0]]
    assert message.averages.ordinary_strength[0] == pytest.approx(np.mean(ordinary), rel=1e-5)
    assert message.averages.strength[0] == pytest.approx(np.mean(raw.texts[0].strength[0]), rel=1e-5)


def test_scales() -> None:
    assert massive_tokens(np.array([100.0, 1, 1.2, 0.9, 2.9, 3.1])).tolist() == [
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    values_T = np.concatenate([np.linspace(-1, 1, 101) + 5, [50.0]])
    middle, limit = colour_scale(values_T, "median")
    assert middle == pytest.approx(5.01, abs=0.02)
    assert 0.9 < limit < 1.1
    assert colour_scale(values_T, "zero")[0] == 0
    assert colour_scale(np.array([2.0, 2.0]), "median") == (2, 1)
    assert colour_scale(np.array([]), "median") == (0, 1)


def test_without_residual_norms_the_texts_own_are_the_unit(look: Any, tiny_llama: LanguageModel) -> None:
    found = look(chosen(vector(tiny_llama, residual_norm_L=None), 1), Talk("t", TALK))
    (axis,) = found.axes
    assert axis.residual_norm_from == "text"
    known = look(chosen(vector(tiny_llama), 1), Talk("t", TALK))
    np.testing.assert_allclose(known.texts[0].projection, found.texts[0].projection)
    np.testing.assert_allclose(
        np.array(found.texts[0].strength) * axis.residual_norm, found.texts[0].projection, rtol=1e-5
    )


def test_an_empty_answer_has_no_mean(look: Any, tiny_llama: LanguageModel) -> None:
    found = look(chosen(vector(tiny_llama), 1), Talk("t", (TALK[0], {"role": "assistant", "content": ""})))
    assert found.texts[0].messages[1].averages.strength == (None,)
    assert found.axes[0].centre_from == "median of the messages' tokens"


def test_what_does_not_fit_is_refused(look: Any, tiny_llama: LanguageModel) -> None:
    other = vector(tiny_llama, model_fingerprint="other")
    with pytest.raises(VectorError, match="--any-model"):
        look(chosen(other, 1), Talk("t", TALK))
    assert look(chosen(other, 1), Talk("t", TALK), any_model=True).axes
    with pytest.raises(ContextLengthError, match=r"long: \d+ tokens, but the model's context is 256"):
        look(chosen(vector(tiny_llama), 1), Talk("t", TALK), Talk("long", raw="fox " * 300))
    zero = vector(tiny_llama, directions_LD=np.zeros((3, 32), np.float32))
    with pytest.raises(VectorError, match="layer 1 is zero"):
        look(chosen(zero, 1), Talk("t", TALK))


def test_which_layer_and_why() -> None:
    def of(**more: Any) -> tuple[int, str]:
        (one,) = chosen(vector(**more))
        return one.layer, one.reason

    assert of(recommended_layer=2) == (2, "recommended by the vector")
    auroc = {"held_out_auroc": [0.7, 0.9, 0.8]}
    assert of(evidence=auroc) == (1, "tells held-out pairs apart best (AUROC 0.90); the vector recommends none")
    tied = {"held_out_auroc": [1.0, 0.9, 1.0], "held_out_cohens_d": [2.0, 9.0, 3.0]}
    layer, reason = of(evidence=tied)
    assert layer == 2
    assert "Cohen's d 3.0" in reason
    assert of(layers=(4, 9, 7), evidence={"layers": [7, 4, 9], "held_out_auroc": [0.9, 0.5, 0.6]})[0] == 7
    with pytest.raises(ConfigError, match="give --layer emoji@LAYER"):
        of()
    assert of(recommended_layer=2, evidence=auroc)[0] == 2


def test_layers_as_asked() -> None:
    vectors = {"a": (Path("a"), vector(recommended_layer=0)), "b": (Path("b"), vector(recommended_layer=1))}

    def of(*given: str) -> list[tuple[str, int]]:
        return [(each.name, each.layer) for each in choose(vectors, given)]

    assert of() == [("a", 0), ("b", 1)]
    assert of("2") == [("a", 2), ("b", 2)]
    assert of("b@2") == [("a", 0), ("b", 2)]
    assert of("1", "b@2", "b@0") == [("a", 1), ("b@2", 2), ("b@0", 0)]
    for wrong, words in (("c@1", "no vector 'c'; there are: a, b"), ("a@x", "NAME@LAYER"), ("-1", "whole number")):
        with pytest.raises(ConfigError, match=words):
            of(wrong)
    with pytest.raises(LayerError, match="no layer 7"):
        of("7")


def test_names(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.safetensors"
    odd.touch()
    assert files_of([str(odd), "x=y.gguf", "z.pt"]) == [("", odd), ("x", Path("y.gguf")), ("", Path("z.pt"))]
    with pytest.raises(ConfigError, match="NAME=FILE"):
        files_of(["x="])
    two = [("", Path("p/one.pt")), ("", Path("two.pt")), ("mine", Path("three.pt"))]
    assert list(named(two, [vector()] * 3)) == ["one", "two", "mine"]
    assert list(named(two[:1], [vector()])) == ["emoji"]
    with pytest.raises(ConfigError, match="both called 'x'"):
        named([("x", Path("a")), ("x", Path("b"))], [vector()] * 2)


CHAT = [{"role": "user", "content": "a\r\n"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("c.json", json.dumps(CHAT), [["a\r\n", "b"]]),
        ("c.json", json.dumps({"messages": CHAT, "model": "x"}, indent=2), [["a\r\n", "b"]]),
        ("c.json", json.dumps([CHAT, CHAT[:1]]), [["a\r\n", "b"], ["a\r\n"]]),
        ("c.json", json.dumps([{"messages": CHAT}]), [["a\r\n", "b"]]),
        ("c.jsonl", f"{json.dumps(CHAT)}\n\n{json.dumps({'messages': CHAT[:1]})}\n", [["a\r\n", "b"], ["a\r\n"]]),
        ("responses.jsonl", '{"key": "k", "arm": "pi", "question": "q", "text": "t"}\n', [["q", "t"]]),
        ("c", json.dumps(CHAT), [["a\r\n", "b"]]),
        (
            "c.json",
            '[{"role": "user", "content": [{"type": "text", "text": "p"}, {"type": "text", "text": "q"}]}]',
            [["pq"]],
        ),
        ("c", "[bold]no JSON[/bold]\r\n", [["[bold]no JSON[/bold]\r\n"]]),
        ("c.txt", json.dumps(CHAT), [[json.dumps(CHAT)]]),
        ("c.md", "\ufeff# Title", [["# Title"]]),
    ],
)
def test_what_is_read(tmp_path: Path, name: str, content: str, expected: list[list[str]]) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    read = read_given(path, None, raw=False, role=None)
    assert [[message["content"] for message in talk.messages] for talk in read.talks] == expected
    assert bool(read.notes) == (name in {"c.txt", "c.md"} or content.startswith("[bold]"))


def test_texts_and_their_roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_given(None, "a\r\n", raw=True, role=None).talks == (Talk("--text", raw="a\r\n"),)
    (talk,) = read_given(None, "a", raw=False, role="assistant").talks
    assert talk.messages == ({"role": "assistant", "content": "a"},)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("🎉\r\nb".encode())))
    (talk,) = read_given(Path("-"), None, raw=False, role=None).talks
    assert talk.messages[0]["content"] == "🎉\r\nb"
    conversation = tmp_path / "c.json"
    conversation.write_text(json.dumps(CHAT))
    for more, words in (({"raw": True, "role": None}, "--raw"), ({"raw": False, "role": "user"}, "--role")):
        with pytest.raises(ConfigError, match=words):
            read_given(conversation, None, **more)
    for given in ((None, None), (conversation, "a")):
        with pytest.raises(ConfigError, match="one of them"):
            read_given(*given, raw=False, role=None)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("c.json", b"[1", "not JSON"),
        ("c.json", b"[]", "without messages"),
        ("c.json", b'{"a?": {"pi_response": "x"}}', r"an object of a\?"),
        ("c.jsonl", b'{"role"', "a line is not JSON"),
        ("c.json", b'[{"role": "user"}]', "message 1: expected"),
        ("c.json", b'[{"role": "user", "content": null}]', "no text"),
        ("c.json", b'[{"role": "user", "content": [{"type": "image"}]}]', "no text"),
        ("c.json", b'[{"role": "user", "content": "\\ud83d"}]', "lone surrogate"),
        ("c.txt", b"\xff\xfe", "not UTF-8"),
        ("c.txt", b" \n", "is empty"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((FileError, RecordError), match=words):
        read_given(path, None, raw=False, role=None)
