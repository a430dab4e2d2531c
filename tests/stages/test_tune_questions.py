"""Which questions are asked, and what is left out."""

import pytest

from steer_llama.errors import ConfigError, FileError
from steer_llama.records import Elicitation, Response, Split
from steer_llama.stages.tune_questions import asked_of_all


def elicitation(name: str, extract: str = "e", dev: str = "d", test: str = "t", each: int = 3) -> Elicitation:
    parts = [tuple(f"{name} {part}{number}?" for number in range(each)) for part in (extract, dev, test)]
    split = Split(extract=parts[0], dev=parts[1], test=parts[2])
    return Elicitation(questions=(*parts[0], *parts[1], *parts[2]), split=split)


def answered(*asked: Elicitation, arm: str = "pi", without: tuple[str, ...] = ()) -> list[Response]:
    return [
        Response(
            key=question,
            arm=role_arm,
            role=role,
            split=each.split.of(question),
            question=question,
            text="" if question in without else f"{role_arm} says.",
            finish_reason="stop",
            model="m",
        )
        for each in asked
        if each.split is not None
        for question in each.questions
        for role, role_arm in (("source", arm), ("target", "llama"))
    ]


def test_the_dev_and_test_questions_of_all() -> None:
    a, b = elicitation("a"), elicitation("b")
    asked = asked_of_all({"a": a, "b": b}, answered(a, b), None)
    assert asked.dev == ("a d0?", "a d1?", "a d2?", "b d0?", "b d1?", "b d2?")
    assert asked.test == ("a t0?", "a t1?", "a t2?", "b t0?", "b t1?", "b t2?")
    assert asked.source_name == "pi"
    assert {answer.text for answer in asked.source} == {"pi says."}
    assert {answer.question for answer in asked.source} == {*asked.dev, *asked.test}
    assert asked.notes == ()
    assert asked_of_all({"a": a, "b": b}, answered(a, b), 2).dev == ("a d0?", "a d1?", "b d0?", "b d1?")


def test_what_the_source_did_not_answer_is_not_asked_and_told() -> None:
    a = elicitation("a")
    asked = asked_of_all({"a": a}, answered(a, without=("a d1?",)), None)
    assert asked.dev == ("a d0?", "a d2?")
    assert asked.notes == ("a: the source answered 2 of 3 dev questions; only these are asked",)


def test_a_question_of_two_parts_is_left_out() -> None:
    a = elicitation("x")
    b = elicitation("x", extract="d", dev="e", test="t")  # what one chooses on, the other extracts from
    c = elicitation("c")
    asked = asked_of_all({"a": a, "c": c}, answered(a, c), None)
    assert len(asked.dev) == 6
    with pytest.raises(FileError, match="none of the 0 dev questions of a"):
        asked_of_all({"a": a, "b": b, "c": c}, answered(a, c), None)


def test_who_answers_must_be_one_source_to_each_elicitation() -> None:
    a, b = elicitation("a"), elicitation("b")
    with pytest.raises(FileError, match="none of the 3 dev questions of b"):
        asked_of_all({"a": a, "b": b}, answered(a), None)
    with pytest.raises(ConfigError, match="2 sources"):
        asked_of_all({"a": a}, [*answered(a), *answered(a, arm="qwen")], None)
    with pytest.raises(ConfigError, match="no source"):
        asked_of_all({"a": a}, [answer for answer in answered(a) if answer.role == "target"], None)
    with pytest.raises(ConfigError, match="--elicitation"):
        asked_of_all({}, answered(a), None)
    one = elicitation("one", each=1)
    with pytest.raises(FileError, match="1 dev and 1 test"):
        asked_of_all({"one": one}, answered(one), None)
