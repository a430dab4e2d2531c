"""The author as a function: what is kept of its replies, what it is told, and when it is given up."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pydantic import TypeAdapter

from steer_llama.chat.authoring import Written, write_elicitation
from steer_llama.chat.authoring.checks import pair_flaw, question_flaw
from steer_llama.chat.authoring.framing import evaluation_prompt
from steer_llama.chat.authoring.prompts import EXAMPLE_PAIRS, EXAMPLE_QUESTIONS
from steer_llama.config import AuthorSettings
from steer_llama.errors import EndpointError
from steer_llama.records import ChatReply, InstructionPair, Message, Trait


def word_list(text: str) -> list[str]:
    return text.split()


TRAIT = Trait(name="Playful", trait_instruction="Playful: the model jokes and laughs.")
NOUNS = word_list(
    "apples bridges clocks deserts engines feathers glaciers harbors islands jackets kettles ladders "
    "mirrors needles onions pianos quilts rockets saddles tunnels umbrellas violins windmills xylophones "
    "yachts zebras anchors bottles candles drums easels forks guitars hammers insects jewels "
    "kites lemons magnets nests oceans pearls "
)
QUESTIONS = [f"Who invented {noun}?" for noun in NOUNS]
PAIRS = [{"pos": f"Joke about {noun} a lot.", "neg": f"Be serious about {noun}."} for noun in NOUNS[:5]]
RUBRIC = {"shows": "It jokes.", "low": "No joke at all", "high": "Jokes in {question} and {answer} {x}"}


def reply(text: Any, finish_reason: str = "stop", reasoning: str = "") -> ChatReply:
    text = text if isinstance(text, str) else json.dumps(text)
    return ChatReply(key="k", text=text, finish_reason=finish_reason, model="m", reasoning=reasoning)


class Author:
    """Replies from a list, and what it was told."""

    def __init__(self, replies: Iterable[ChatReply]) -> None:
        self._replies = list(replies)
        self.told: list[tuple[Message, ...]] = []
        self.schemas: list[dict[str, Any]] = []

    def __call__(self, messages: tuple[Message, ...], schema: dict[str, Any], attempt: int) -> ChatReply:
        assert attempt == len(self.told)
        self.told.append(messages)
        self.schemas.append(schema)
        return self._replies[min(attempt, len(self._replies) - 1)]

    def asked_for(self, call: int) -> int:
        return self.schemas[call]["properties"]["questions"]["maxItems"]


def settings(**more: object) -> AuthorSettings:
    endpoint = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    return AuthorSettings.model_validate({"endpoint": endpoint, "questions_per_call": 40, **more})


def write(author: Author, advance: Callable[[int], None] = lambda _: None, **more: object) -> Written:
    return write_elicitation(TRAIT, settings(**more), author, advance)


def whole(*question_replies: ChatReply) -> Author:
    return Author([reply({"instruction": PAIRS}), reply(RUBRIC), *question_replies])


def test_a_good_author_needs_three_calls() -> None:
    heard: list[int] = []
    author = whole(reply({"questions": QUESTIONS[:40]}))
    written = write(author, heard.append)
    assert (written.calls, written.refused, sum(heard)) == (3, {}, 40)
    assert list(written.elicitation.questions) == QUESTIONS[:40]
    assert [pair.pos for pair in written.elicitation.instruction] == [pair["pos"] for pair in PAIRS]
    assert author.asked_for(2) == 40
    assert TRAIT.trait_instruction in author.told[2][0]["content"]


def test_some_at_a_time_with_repetitions_and_leaks() -> None:
    parts = [QUESTIONS[start : start + 5] for start in range(0, 40, 5)]
    bad = ["who invented apples?!", "Tell me a joke, would you"]
    author = whole(*(reply({"questions": [*part[:2], *bad, *part[2:]]}) for part in parts))
    written = write(author, questions_per_call=7)
    assert list(written.elicitation.questions) == QUESTIONS[:40]
    assert written.calls == 10
    # The last reply's are found before it is full: all eight name them, the first repeats nothing yet but its own.
    assert written.refused["asks outright"] == 8
    assert written.refused["repeated"] == 8
    told = author.told[3][-1]["content"]
    assert '"Tell me a joke, would you" (it asks for the trait' in told
    assert '"who invented apples?!" (it is there already)' in told
    assert all(json.dumps(question) in told for question in parts[0])
    subjects = [messages[-1]["content"].split("Subjects:")[1].split("\n")[0] for messages in author.told[2:]]
    assert len(set(subjects)) == len(subjects)


def test_an_author_that_copies_is_not_shown_what_is_there() -> None:
    author = whole(
        reply({"questions": QUESTIONS[:10]}),
        reply({"questions": QUESTIONS[:10]}),
        *(reply({"questions": QUESTIONS[start : start + 10]}) for start in (10, 20, 30)),
    )
    assert write(author, questions_per_call=10).refused == {"repeated": 10}
    shown = [json.dumps(QUESTIONS[0]) in messages[-1]["content"] for messages in author.told[2:]]
    assert shown == [False, True, False, False, False]


def test_what_is_no_json_is_asked_again_with_the_error() -> None:
    author = Author(
        [
            reply("Sure! Here you go"),
            reply({"instruction": PAIRS}),
            reply('{"shows": "x", "low": 3, "high": "y"}'),
            reply(RUBRIC),
            reply({"answers": []}),
            reply("```json\n" + json.dumps({"questions": QUESTIONS[:40]}) + "\n```"),
        ]
    )
    written = write(author)
    assert (written.calls, written.refused) == (6, {"unusable replies": 3})
    for call, said, error in (
        (1, "Sure! Here you go", "no JSON object was found"),
        (3, '"low": 3', "low: input should be a valid string"),
        (5, '"answers"', "expected an object with the list 'questions', found the keys ['answers']"),
    ):
        bad, again = author.told[call][-2:]
        assert bad["role"] == "assistant"
        assert said in bad["content"]
        assert error in again["content"]


def test_what_is_whole_of_a_reply_that_was_cut_off_is_kept() -> None:
    cut = json.dumps({"questions": QUESTIONS[:12]})[:-20]
    author = whole(
        reply(cut, "length"), *(reply({"questions": QUESTIONS[start : start + 11]}) for start in (11, 22, 33))
    )
    written = write(author)
    assert list(written.elicitation.questions) == QUESTIONS[:40]
    assert [author.asked_for(call) for call in (2, 3, 4, 5)] == [40, 11, 11, 7]
    assert written.refused == {}


def test_thoughts_that_used_up_the_tokens_are_named() -> None:
    author = whole(reply("", "length", "Let me think"), reply({"questions": QUESTIONS[:20]}))
    with pytest.raises(EndpointError):
        write(author, max_calls=4)
    assert "the limit of tokens was reached in the thoughts" in author.told[3][-1]["content"]
    assert author.asked_for(3) == 20


def test_an_author_that_has_no_more_to_say() -> None:
    author = whole(reply({"questions": QUESTIONS[:10]}))
    with pytest.raises(EndpointError) as caught:
        write(author, max_calls=9, questions_per_call=10)
    text = str(caught.value)
    assert len(author.told) == 9
    assert "asked 9 times (author.max_calls) and wrote 10 of 40 usable questions" in text
    assert "60 repeated" in text
    assert "author.questions_per_call" in text


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("", "empty"),
        ("Rain?", "too short"),
        ("Rain or snow", None),
        ("雨はなぜ降るのですか", None),
        ("Why " + "very " * 100 + "rain", "too long"),
        ("What is {question} in Python?", "not plain text"),
        ("1 + 2 + 3 + 4 + 5 = what", "not plain text"),
        ("How do you find the right person,", "broken off"),
        ("How do you find the", "broken off"),
        ("How are you? How is it? How are you?", "goes in circles"),
        ("Why is the sky blue", "repeated"),
        ("Why is the whole sky blue?", "nearly repeated"),
        (EXAMPLE_QUESTIONS[0], "copied example"),
        ("Tell me a joke about rain.", "asks outright"),
    ],
)
def test_questions(question: str, kind: str | None) -> None:
    flaw = question_flaw(question, ["Why is the sky blue?"], TRAIT, EXAMPLE_QUESTIONS)
    assert (flaw and flaw.kind) == kind


@pytest.mark.parametrize(
    ("pos", "neg", "kind"),
    [
        ("Laugh and joke.", "Be quite serious.", None),
        ("Laugh and joke.", "laugh, and joke", "not opposite"),
        ("Joke a lot!", "Be quite serious.", "repeated"),
        ("", "Be quite serious.", "empty"),
        (EXAMPLE_PAIRS[0].pos, "Be quite serious.", "copied example"),
        (EXAMPLE_PAIRS[0].neg, "Be quite serious.", "copied example"),
    ],
)
def test_instruction_pairs(pos: str, neg: str, kind: str | None) -> None:
    kept = [InstructionPair(pos="Joke a lot.", neg="Never ever joke.")]
    flaw = pair_flaw(InstructionPair(pos=pos, neg=neg), kept, EXAMPLE_PAIRS)
    assert (flaw and flaw.kind) == kind


def test_the_evaluation_prompt_has_two_places_only() -> None:
    odd = Trait(name="{answer}", trait_instruction="Write {question} and {low} {high}")
    for trait in (TRAIT, odd):
        prompt = evaluation_prompt(trait, "{answer}{high}", "{question}", "{trait} }{")
        assert (prompt.count("{question}"), prompt.count("{answer}")) == (1, 1)
        assert prompt.count("{") == prompt.count("}") == 2
        assert prompt.format(question="Q", answer="A").count("Q\n") == 1
        assert "REFUSAL" in prompt
        assert "from 0 (" in prompt
        assert prompt.endswith("and nothing else.")


def test_two_ends_that_say_the_same_are_left_out() -> None:
    assert "little of it: It is dry." in evaluation_prompt(TRAIT, "It jokes.", "It is dry", "It is fun")
    same = evaluation_prompt(TRAIT, "It jokes.", "It jokes", "it jokes.")
    assert "little of it" not in same
    assert "It jokes.\n\nThe user wrote:" in same


@pytest.mark.parametrize(
    "text", ['{"questions": [' + "1" * 5000, "[" * 3000, '{"questions": ["half \\ud83d an emoji here"]}']
)
def test_replies_that_nobody_can_read_are_asked_for_again(text: str) -> None:
    """And never a crash: they are journalled, so the same command would meet them again."""
    from steer_llama.chat.authoring.replies import UnusableReplyError, read_as, read_list

    bad = ChatReply(key="k", text=text, finish_reason="length", model="m")
    with pytest.raises(UnusableReplyError):
        for item in read_list(bad, "questions"):
            read_as(item, TypeAdapter(str))
