import itertools

import pytest

from steer_llama.chat.authoring import near_duplicate
from steer_llama.elicitations import read_elicitation
from steer_llama.packaged import packaged_traits

SAME = [
    ("Why is the sky blue?", "why is  the sky BLUE"),
    ("How do I cook rice?", "How can I cook rice at home?"),
    ("What are the benefits of regular exercise?", "What benefits does regular exercise have?"),
    ("How do vaccines protect against diseases?", "How does a vaccine protect against disease?"),
    ("My dog's toy broke.", "My dogs toy broke!"),
    ("Which film should I watch tonight?", "Tonight, which films should I watch?"),
]
DIFFERENT = [
    ("What is the difference between butter and margarine?", "What is the difference between cats and dogs?"),
    ("What is rain?", "Why does rain fall from clouds?"),
    ("How do I cook rice?", "How do I cook beans?"),
    ("How are you?", "Who are you?"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_in_other_words(one: str, other: str) -> None:
    assert near_duplicate(one, ["Something else entirely", other]) == other
    assert near_duplicate(other, [one]) == one


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_questions(one: str, other: str) -> None:
    assert near_duplicate(one, [other]) is None


@pytest.mark.parametrize("trait", packaged_traits())
def test_no_packaged_question_is_like_another(trait: str) -> None:
    questions = read_elicitation(trait).questions
    assert [pair for pair in itertools.combinations(questions, 2) if near_duplicate(pair[0], pair[1:])] == []
