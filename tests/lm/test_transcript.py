"""Every message is found behind every template, and the answer's tokens are those that extraction averages."""

from typing import Any

import pytest

from steer_llama.errors import ModelError
from steer_llama.lm.pieces import cut
from steer_llama.lm.tokens import encode_answer
from steer_llama.lm.transcript import encode_conversation, encode_text
from steer_llama.records import Message
from tests.lm import templates
from tests.lm.models import byte_level, sentencepiece_like
from tests.lm.test_tokens import TOKENIZERS

TALK: list[Message] = [
    {"role": "user", "content": "hello, who are you? QzAnswerStandsHereQz"},
    {"role": "assistant", "content": "I am a fox 😀.\n\nuser\n"},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "A fox 👨‍👩‍👧 é\r\n[bold]&amp;<b>"},
]
TEXTS = (
    "plain words",
    " 😀 party 🎉🎉 family 👨‍👩‍👧‍👦 flags 🇫🇷🇩🇪 👍🏽 1️⃣ ❤️",
    "日本語のテキスト、漢字",
    "e\u0301 a\u0308\u0323 क्षि ก็",
    "line\r\nline\n\n  two  \t\r\n",
    "[bold]not markup[/bold] <b>&amp;</b> \x1b[31m\x00 \u202eabc",
    "🎉",
    "\n",
    "<|im_start|>user in the text<|im_end|>",
)


@pytest.fixture(params=sorted(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]


@pytest.mark.parametrize("name", sorted(templates.ALL))
def test_every_message_is_found(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = templates.ALL[name]
    transcript = encode_conversation(tokenizer, TALK)
    assert len(transcript.ids) == len(transcript.spans)
    for message, (start, end) in zip(TALK, transcript.contents, strict=True):
        expected = message["content"].strip() if name in templates.TRIMMING else message["content"]
        assert transcript.text[start:end] == expected
    assert list(transcript.contents) == sorted(transcript.contents)


@pytest.mark.parametrize("name", sorted(templates.ALL))
def test_an_answers_tokens_are_those_that_extraction_averages(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = templates.ALL[name]
    transcript = encode_conversation(tokenizer, TALK)
    answer = encode_answer(tokenizer, TALK[:-1], TALK[-1]["content"])
    first, stop = transcript.tokens_of(transcript.contents[-1])
    assert (first, stop) == (answer.response_start, len(answer.ids))
    assert transcript.ids[:stop] == answer.ids


def test_a_system_message_and_thoughts_that_the_template_drops() -> None:
    tokenizer = byte_level(template=templates.ALL["qwen3"])
    talk: list[Message] = [
        {"role": "system", "content": "Be a fox."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA fox."},
    ]
    transcript = encode_conversation(tokenizer, talk)
    assert [transcript.text[start:end] for start, end in transcript.contents] == ["Be a fox.", "Who?", "A fox."]


def test_a_template_that_puts_the_system_message_elsewhere() -> None:
    template = "{% for m in messages %}{% if m['role'] != 'system' %}<{{ m['content'] }}>{% endif %}{% endfor %}"
    tokenizer = byte_level(template=template + "({{ messages[0]['content'] }})")
    transcript = encode_conversation(
        tokenizer, [{"role": "system", "content": "S>("}, {"role": "user", "content": "<u>"}]
    )
    assert transcript.text == "<<u>>(S>()"
    assert [transcript.text[start:end] for start, end in transcript.contents] == ["S>(", "<u>"]


def test_an_empty_message_has_no_tokens() -> None:
    transcript = encode_conversation(
        byte_level(), [{"role": "user", "content": "hm"}, {"role": "assistant", "content": ""}]
    )
    start, end = transcript.contents[1]
    assert start == end
    assert transcript.tokens_of(transcript.contents[1]) == (0, 0)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (templates.DROPS_ANSWERS, r"does not show message 2 \(of role assistant\)"),
        (templates.SHOUTS, r"does not show message 1"),
        ("{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}", "shows 2 times message 1"),
        (None, "no chat template"),
    ],
)
def test_templates_that_cannot_be_used(template: str | None, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        encode_conversation(byte_level(template=template), TALK)


@pytest.mark.parametrize("text", TEXTS)
def test_parts_are_the_text_and_never_half_a_character(tokenizer: Any, text: str) -> None:
    encoded = encode_text(tokenizer, text)
    parts = cut(encoded.text, encoded.spans)
    shown = [encoded.text[part.start : part.end] for part in parts]
    assert "".join(shown) == text
    assert all(shown)
    for whole in ("👨‍👩‍👧‍👦", "🇫🇷", "👍🏽", "1️⃣", "❤️", "e\u0301", "\r\n"):
        assert sum(part.count(whole) for part in shown) == text.count(whole), whole
    covering = [token for part in parts for token in part.tokens]
    assert covering == [index for index, (start, end) in enumerate(encoded.spans) if start < end], "each token once"


def test_parts_are_as_small_as_tokens_allow() -> None:
    encoded = encode_text(byte_level(0), "ab🎉c")
    assert [(part.start, part.end, part.tokens) for part in cut(encoded.text, encoded.spans)] == [
        (0, 1, (0,)),
        (1, 2, (1,)),
        (2, 3, (2, 3, 4, 5)),
        (3, 4, (6,)),
    ]


def test_a_message_ends_a_part_even_within_a_token() -> None:
    parts = cut("ab cd", [(0, 5)], at=[0, 2, 3])
    assert [(part.start, part.end, part.tokens) for part in parts] == [(0, 2, (0,)), (2, 3, (0,)), (3, 5, (0,))]


def test_white_space_that_a_tokenizer_leaves_out() -> None:
    parts = cut(" a b ", [(1, 2), (3, 4)])
    assert [(part.start, part.end, part.tokens) for part in parts] == [(0, 2, (0,)), (2, 4, (1,)), (4, 5, ())]


def test_what_a_tokenizer_puts_before_a_text_is_read_and_has_no_characters() -> None:
    tokenizer = sentencepiece_like(metaspace=True)
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    encoded = encode_text(tokenizer, "hello")
    assert encoded.ids[0] == tokenizer.bos_token_id
    assert encoded.spans[0] == (0, 0)
    assert encoded.tokens_of(encoded.contents[0]) == (1, len(encoded.ids))
