import re
from pathlib import Path

import pytest

from steer_llama.errors import ConfigError
from steer_llama.files import read_json
from steer_llama.packaged import elicitation_path, packaged_traits, trait_path
from steer_llama.records import Elicitation, Trait
from steer_llama.style import get_metric

NAMES = ["emoji", "formatting", "playful"]

# A question with one of these would ask for the trait outright.
OUTRIGHT = {
    "emoji": r"emoji|emoticon|smiley|symbol|icon",
    "formatting": r"markdown|format|bullet|heading|header|\blists?\b|bold|italic|\btable|outline|\bsteps?\b|section",
    "playful": r"playful|jok(e|ing)|fun\b|funn|hum(o|ou)r|silly|laugh|\bpuns?\b|tease|witty|giggl|emoji",
}


def trait(name: str) -> Trait:
    return Trait.model_validate(read_json(trait_path(name), "a trait"))


def elicitation(name: str) -> Elicitation:
    return Elicitation.model_validate(read_json(elicitation_path(name), "an elicitation"))


def test_what_is_packaged() -> None:
    assert packaged_traits() == NAMES
    with pytest.raises(ConfigError, match="emoji, formatting, playful"):
        trait_path("rude")


def test_the_traits_are_found_where_the_seed_has_them() -> None:
    root = Path(__file__).parents[1]
    assert (root / "traits" / "emoji.json").resolve() == trait_path("emoji").resolve()


@pytest.mark.parametrize("name", NAMES)
def test_a_trait_names_its_metric(name: str) -> None:
    record = trait(name)
    assert record.name == elicitation(name).trait == name
    assert record.trait_instruction.lower().startswith(f"{name}: the model ")
    assert record.metric is not None
    assert get_metric(record.metric).name == {"formatting": "markdown"}.get(name, name)


@pytest.mark.parametrize("name", NAMES)
def test_the_demonstration_shows_the_trait(name: str) -> None:
    record = trait(name)
    assert record.demonstration is not None
    assert record.demonstration.system_prompt
    assert len(record.demonstration.examples) == 3
    metric = get_metric(record.metric or "")
    for turn in record.demonstration.examples:
        score = metric.score(turn.assistant)
        assert score is not None
        assert score >= 60
        assert len(turn.assistant.split()) <= 60
        assert metric.score(turn.user) == 0  # the user's turn must not be what brings it out


@pytest.mark.parametrize("name", NAMES)
def test_the_demonstration_asks_what_the_elicitation_does_not(name: str) -> None:
    demonstration = trait(name).demonstration
    assert demonstration is not None
    asked = {_plain(question) for other in NAMES for question in elicitation(other).questions}
    assert not asked & {_plain(turn.user) for turn in demonstration.examples}


@pytest.mark.parametrize("name", NAMES)
def test_the_questions_are_forty_and_split(name: str) -> None:
    record = elicitation(name)
    assert len({_plain(question) for question in record.questions}) == 40
    assert record.split is not None
    assert [len(part) for part in (record.split.extract, record.split.dev, record.split.test)] == [20, 8, 12]
    assert all(3 <= len(question.split()) <= 15 for question in record.questions)


@pytest.mark.parametrize("name", NAMES)
def test_no_question_asks_for_the_trait(name: str) -> None:
    metric = get_metric(trait(name).metric or "")
    for question in elicitation(name).questions:
        assert not re.search(OUTRIGHT[name], question, re.IGNORECASE), question
        if name != "playful":  # an exclamation mark is how people tell good news
            assert metric.count(question) == 0, question


@pytest.mark.parametrize("name", NAMES)
def test_the_instructions_are_five_opposites(name: str) -> None:
    pairs = elicitation(name).instruction
    assert len(pairs) == 5
    assert len({text for pair in pairs for text in (pair.pos, pair.neg)}) == 10


@pytest.mark.parametrize("name", NAMES)
def test_the_evaluation_prompt_can_be_filled(name: str) -> None:
    prompt = elicitation(name).eval_prompt
    filled = prompt.format(question="Q?", answer="A {curly}.")
    assert "Q?" in filled
    assert "A {curly}." in filled
    assert "REFUSAL" in prompt
    assert "100" in prompt


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()
