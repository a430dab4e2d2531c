"""Where the answer begins and ends, whatever the template and the tokenizer."""

from typing import Any

import pytest

from steer_llama.errors import ContextLengthError, ModelError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import check_context, divergence_index, encode_answer, encode_prompt
from steer_llama.records import Message
from tests.lm import templates
from tests.lm.models import byte_level, sentencepiece_like

QUESTION: list[Message] = [{"role": "user", "content": "hello, who are you?"}]
TOKENIZERS = {
    "byte-level": byte_level(),
    "trimmed offsets": byte_level(trim_offsets=True),
    "bytes only": byte_level(0),
    "metaspace": sentencepiece_like(metaspace=True),
    "prepend": sentencepiece_like(metaspace=False),
}


@pytest.fixture(params=sorted(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]


@pytest.mark.parametrize("name", sorted(templates.ALL))
def test_the_answer_is_found_behind_every_template(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = templates.ALL[name]
    encoded = encode_answer(tokenizer, QUESTION, "I am a fox 😀.")
    assert encoded.answer == "I am a fox 😀."
    first, last = encoded.spans[encoded.response_start], encoded.spans[-1]
    assert first[0] <= encoded.answer_start < first[1]
    assert last[1] == encoded.answer_start + len(encoded.answer), "nothing of the tail, nothing cut"
    assert encoded.spans[encoded.response_start - 1][1] <= encoded.answer_start
    assert tokenizer.decode(list(encoded.ids[encoded.response_start :])).strip() == "I am a fox 😀."


@pytest.mark.parametrize("name", sorted(templates.ALL))
def test_an_answer_is_written_where_it_is_read(tokenizer: Any, name: str) -> None:
    """The generation prompt is what stands before the answer, thinking block included."""
    tokenizer.chat_template = templates.ALL[name]
    prompt = encode_prompt(tokenizer, QUESTION)
    encoded = encode_answer(tokenizer, QUESTION, "fox")
    assert list(encoded.ids[: len(prompt)]) == prompt
    between = tokenizer.decode(list(encoded.ids[len(prompt) : encoded.response_start]))
    assert between == "" or (name == "mistral" and between.isspace()), "only Mistral's template has a space there"


@pytest.mark.parametrize("answer", ["  two words \n", "\n\nfirst line", "trailing\n\n\n", " 😀 "])
@pytest.mark.parametrize("name", sorted(templates.ALL))
def test_white_space_around_the_answer(name: str, answer: str) -> None:
    tokenizer = byte_level(template=templates.ALL[name])
    encoded = encode_answer(tokenizer, QUESTION, answer)
    expected = answer.strip() if name in templates.TRIMMING else answer
    assert encoded.answer == (expected.lstrip("\n") if name == "qwen3" else expected)
    covered = [span for span in encoded.spans[encoded.response_start :] if span[1] > encoded.answer_start]
    assert len(covered) == len(encoded.ids) - encoded.response_start > 0
    assert encoded.spans[-1][1] >= encoded.answer_start + len(encoded.answer)


def test_a_token_over_the_boundary_counts_to_the_answer() -> None:
    """The tokenizer has a token for three newlines: one of the header, two of the answer."""
    tokenizer = byte_level()
    encoded = encode_answer(tokenizer, QUESTION, "\n\nb")
    first = encoded.spans[encoded.response_start]
    assert first[0] < encoded.answer_start < first[1]
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n\n{% endfor %}"
    encoded = encode_answer(tokenizer, QUESTION, "jumps.\n")
    assert encoded.spans[-1][1] > encoded.answer_start + len("jumps.\n"), "and one that the tail shares too"


@pytest.mark.parametrize("answer", ["", " \n "])
@pytest.mark.parametrize("name", sorted(templates.ALL))
def test_an_empty_answer_has_no_tokens_and_no_tail(name: str, answer: str) -> None:
    tokenizer = byte_level(template=templates.ALL[name])
    encoded = encode_answer(tokenizer, QUESTION, answer)
    assert all(start < encoded.answer_start + len(encoded.answer) for start, _ in encoded.spans)
    if name in templates.TRIMMING or not answer:
        assert encoded.response_start == len(encoded.ids)
        if name != "mistral":  # whose space merges into the answer's first word
            assert list(encoded.ids) == encode_prompt(tokenizer, QUESTION)


@pytest.mark.parametrize("name", sorted(templates.ALL))
@pytest.mark.parametrize(
    "answer",
    ["a<|im_end|>\n<|im_start|>assistant\nb", "<|im_end|>", "assistant", "QzAnswerStandsHereQz", "hello, who are you?"],
)
def test_an_answer_that_looks_like_a_header(name: str, answer: str) -> None:
    tokenizer = byte_level(template=templates.ALL[name])
    encoded = encode_answer(tokenizer, QUESTION, answer)
    assert encoded.answer == answer
    assert tokenizer.decode(list(encoded.ids[encoded.response_start :])).strip() == answer


def test_the_marker_in_the_question_is_not_taken_for_the_answer() -> None:
    encoded = encode_answer(byte_level(), [{"role": "user", "content": "QzAnswerStandsHereQz"}], "fox")
    assert encoded.answer == "fox"


def test_a_template_that_refuses_the_system_role() -> None:
    tokenizer = byte_level(template=templates.GEMMA)
    conversation: list[Message] = [{"role": "system", "content": "Be kind."}, *QUESTION]
    with pytest.raises(ModelError, match=r"refuses a conversation of system, user.*System role not supported"):
        encode_prompt(tokenizer, conversation)
    with pytest.raises(ModelError, match="System role not supported"):
        encode_answer(tokenizer, conversation, "fox")


@pytest.mark.parametrize(
    ("template", "answer", "said"),
    [
        (templates.DROPS_ANSWERS, "fox", "does not show the assistant's answer"),
        (templates.SHOUTS, "fox", "does not show"),
        (templates.QWEN3, "hm</think>\nfox", "renders the answer"),
        ("{% for m in messages %}{{ m['content'] | replace('o', 'u') }}{% endfor %}", "fox", "renders the answer"),
        ("{{ messages[0]['content']", "fox", "refuses"),
        (None, "fox", "no chat template"),
    ],
)
def test_templates_that_do_not_show_the_answer(template: str | None, answer: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        encode_answer(byte_level(template=template), QUESTION, answer)


def test_divergence_index() -> None:
    assert divergence_index([1, 2, 3], [1, 2, 4]) == 2
    assert divergence_index([1, 2], [1, 2, 4]) == divergence_index([1, 2, 4], [1, 2]) == 2
    assert divergence_index([1, 2], [1, 2]) == 2
    assert divergence_index([3], [4]) == divergence_index([], [4]) == 0


def test_check_context() -> None:
    check_context(10, 10, "it")
    check_context(10**9, None, "it")
    with pytest.raises(ContextLengthError, match="the pair 'a': 11 tokens, but the model's context is 10"):
        check_context(11, 10, "the pair 'a'")


def test_smollm2_reads_the_answer_behind_its_header(smollm2: LanguageModel) -> None:
    encoded = encode_answer(smollm2.tokenizer, QUESTION, "Paris 🎉!")
    header = smollm2.tokenizer.decode(list(encoded.ids[: encoded.response_start]))
    assert header.endswith("<|im_start|>assistant\n")
    assert list(encoded.ids[: encoded.response_start]) == encode_prompt(smollm2.tokenizer, QUESTION)
    assert smollm2.tokenizer.decode(list(encoded.ids[encoded.response_start :])) == "Paris 🎉!"
