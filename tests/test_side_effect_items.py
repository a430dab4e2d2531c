"""The packaged sets are well-formed, various, and say nothing twice."""

import re
import unicodedata

import pytest

from steer_llama.evaluation import is_right
from steer_llama.evaluation.factual import levelled
from steer_llama.files import read_json
from steer_llama.packaged import side_effects_path
from steer_llama.records import EffectItems
from steer_llama.stages.effect_items import QUICK, QUICK_TURNS, effect_items
from steer_llama.style import get_metric, is_refusal
from tests.test_packaged import NAMES, elicitation

SIZES = {"texts": 12, "prompts": 24, "facts": 40, "harmful": 12, "harmless": 12, "conversations": 4}
ITEMS = effect_items()


def asked(items: EffectItems) -> list[str]:
    turns = [turn for conversation in items.conversations for turn in conversation]
    return [*items.prompts, *(fact.question for fact in items.facts), *items.harmful, *items.harmless, *turns]


def words(text: str) -> set[str]:
    return set(levelled(text).split())


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_the_sizes(name: str, size: int) -> None:
    assert len(read_json(side_effects_path(name), "a set")) == len(getattr(ITEMS, name)) == size


def test_nothing_stands_twice_or_nearly() -> None:
    everything = [*ITEMS.texts, *asked(ITEMS)]
    assert len({levelled(text) for text in everything}) == len(everything)
    # Factual questions are alike on purpose: "What is the capital of …?"
    various = [text for text in everything if text not in {fact.question for fact in ITEMS.facts}]
    for number, one in enumerate(various):
        for other in various[:number]:
            assert len(words(one) & words(other)) < 0.45 * len(words(one) | words(other)), (one, other)


def test_no_question_is_one_that_a_vector_may_have_been_made_from() -> None:
    used = {levelled(question) for name in NAMES for question in elicitation(name).questions}
    assert not used & {levelled(question) for question in asked(ITEMS)}


@pytest.mark.parametrize("text", [*ITEMS.texts, *asked(ITEMS)])
def test_plain_text(text: str) -> None:
    assert text == " ".join(text.split())
    assert text == unicodedata.normalize("NFC", text)
    assert text.isascii()
    assert text[0].isupper() or text[0] == '"'
    assert text[-1] in '.?!"'
    assert get_metric("emoji").count(text) == get_metric("markdown").count(text) == 0


@pytest.mark.parametrize("text", ITEMS.texts)
def test_a_text_is_a_paragraph(text: str) -> None:
    assert 40 <= len(text.split()) <= 90


@pytest.mark.parametrize("fact", ITEMS.facts, ids=lambda fact: fact.question)
def test_a_fact_is_short_and_does_not_tell_its_answer(fact) -> None:
    assert len({levelled(answer) for answer in fact.answers}) == len(fact.answers)
    for answer in fact.answers:
        assert 1 <= len(levelled(answer).split()) <= 3
        assert is_right(f"It is {answer}.", fact.answers)
        assert not is_right(fact.question, [answer]), "an answer that repeats the question would be right"
        if answer.isdigit():
            assert len(fact.answers) > 1 or len(answer) == 4, "a number also has a name"


def test_answers_do_not_answer_other_questions_by_chance() -> None:
    rights = [fact.answers for fact in ITEMS.facts]
    for fact in ITEMS.facts:
        others = sum(is_right(fact.answers[0], answers) for answers in rights)
        assert others == (2 if levelled(fact.answers[0]) == "mercury" else 1), fact.question


def test_requests_are_requests_and_no_recipe() -> None:
    for request in (*ITEMS.harmful, *ITEMS.harmless):
        assert len(request.split()) <= 20
        assert not is_refusal(request)
        assert not re.search(r"https?:|\d{3}", request)


def test_conversations_have_six_turns() -> None:
    assert all(len(conversation) == 6 for conversation in ITEMS.conversations)


def test_the_quick_set_is_the_beginning_of_the_whole() -> None:
    quick = effect_items(quick=True)
    for name, size in QUICK.items():
        whole, part = getattr(ITEMS, name), getattr(quick, name)
        assert len(part) == size < len(whole)
        expected = whole[:size] if name != "conversations" else tuple(turns[:QUICK_TURNS] for turns in whole[:size])
        assert part == expected
    for name in ("continuation_tokens", "fact_tokens", "refusal_tokens", "turn_tokens"):
        assert getattr(quick, name) <= getattr(ITEMS, name)
