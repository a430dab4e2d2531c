import pytest

from steer_llama.chat.judging import (
    Judgement,
    check_prompt,
    coherence_prompt,
    fill,
    flaw_in,
    misfit,
    over_repeats,
    read_reply,
    repair_of,
    structured_prompt,
)
from steer_llama.errors import RecordError
from steer_llama.records import ChatReply


def reply(text: str, finish_reason: str = "stop", reasoning: str = "") -> ChatReply:
    return ChatReply(key="k", text=text, finish_reason=finish_reason, model="m", reasoning=reasoning)


def text_of(text: str, finish_reason: str = "stop") -> Judgement:
    return read_reply("text", reply(text, finish_reason), {}, 0.25)


def json_of(text: str, finish_reason: str = "stop") -> Judgement:
    return read_reply("structured", reply(text, finish_reason), {}, 0.25)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("75", 75),
        (" 0\n", 0),
        ("**100**", 100),
        ("`42`", 42),
        ("Score: 75", 75),
        ("rating = 7", 7),
        ("75/100", 75),
        ("75 out of 100.", 75),
        ("75.", 75),
        ("60%", 60),
    ],
)
def test_a_reply_that_is_a_number(text: str, score: float) -> None:
    assert text_of(text) == Judgement(score)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("I'd say 7 out of 10", "is no number"),
        ("7/10", "is no number"),
        ("75 because of the emoji", "is no number"),
        ("between 60 and 70", "is no number"),
        ("-5", "is no number"),
        ("75.5", "is no number"),
        ("101", "101 is not from 0 to 100"),
        ("", "is empty"),
        ("REFUSAL", "calls the answer a refusal"),
        ("  **Refusal!** ", "calls the answer a refusal"),
        ("٧٥", "is no number"),
    ],
)
def test_a_reply_that_is_none_is_unscored_with_the_reason(text: str, says: str) -> None:
    judgement = text_of(text)
    assert judgement.score is None
    assert says in str(judgement.reason)


def test_a_number_that_may_have_been_cut() -> None:
    assert text_of("75", "length").score == 75
    assert text_of("0", "length").score == 0
    assert text_of("7", "length").reason == "the judge's reply '7' may have been cut in its number"
    assert text_of("10", "length").score is None
    assert "cut at max_tokens" in str(text_of("It is clear that", "length").reason)


def test_a_judge_that_was_cut_in_its_thoughts() -> None:
    for method in ("text", "structured", "logprobs"):
        judgement = read_reply(method, reply("", "length", "Hmm."), {}, 0.25)
        assert judgement.score is None
        assert "cut in its thoughts at max_tokens (judge.endpoint.sampling.max_tokens)" in str(judgement.reason)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"refusal": false, "score": 75}', 75),
        ('```json\n{"score": 0, "refusal": false}\n```', 0),
        ('{"refusal": false, "score": 50.0, "why": "x"}', 50),
    ],
)
def test_an_object_with_a_score(text: str, score: float) -> None:
    assert json_of(text) == Judgement(score)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"refusal": false, "score": null}', "'score' is null, but 'refusal' is not true"),
        ('{"refusal": false, "score": 101}', "'score' is 101, expected a whole number from 0 to 100"),
        ('{"refusal": false, "score": -1}', "'score' is -1"),
        ('{"refusal": false, "score": 7.5}', "'score' is 7.5"),
        ('{"refusal": false, "score": true}', "'score' is true"),
        ('{"refusal": false, "score": "75"}', "'score' is \"75\""),
        ('{"refusal": "no", "score": 75}', "'refusal' must be true or false"),
        ('{"score": 75}', "no JSON object with the keys"),
        ("[75]", "no JSON object with the keys"),
        ("75", "no JSON object with the keys"),
        ("it is 75", "it is no JSON object"),
        ('{"refusal": false, "score": 1e999}', "'score' is Infinity"),
        ('{"refusal": false, "score": NaN}', "'score' is NaN"),
    ],
)
def test_an_object_without_is_unscored_with_the_reason(text: str, says: str) -> None:
    judgement = json_of(text)
    assert judgement.score is None
    assert says in str(judgement.reason)
    assert says in str(flaw_in(text))


@pytest.mark.parametrize("text", ['{"refusal": true, "score": null}', '{"refusal": true, "score": 0}', "REFUSAL"])
def test_an_object_that_says_refusal(text: str) -> None:
    assert json_of(text) == Judgement.unscored("the judge calls the answer a refusal")
    assert flaw_in(text) is None


def test_which_method_fits() -> None:
    assert misfit("logprobs", reply("75"), 0.25) == "it gives no log probabilities"
    assert misfit("structured", reply('{"refusal": false, "score": 7}'), 0.25) is None
    assert "does not keep to the schema" in str(misfit("structured", reply("75"), 0.25))
    assert misfit("text", reply("whatever"), 0.25) is None


def test_prompts_are_filled_in_one_pass() -> None:
    filled = fill("{question}|{answer}|{other}|{}", "why {answer}?", "{question} {0} }{")
    assert filled == "why {answer}?|{question} {0} }{|{other}|{}"
    asked = coherence_prompt("Q {answer}", "A {question}")
    assert "Q {answer}" in asked
    assert "A {question}" in asked
    assert "{" not in asked.replace("{answer}", "").replace("{question}", "")


def test_a_prompt_that_cannot_be_used() -> None:
    assert check_prompt("{answer}?", "e.json") == "{answer}?"
    with pytest.raises(RecordError, match=r"e\.json: has no 'eval_prompt'.*elicit"):
        check_prompt(" ", "e.json")
    with pytest.raises(RecordError, match=r"e\.json: 'eval_prompt' has no \{answer\}"):
        check_prompt("Score it", "e.json")


def test_what_a_structured_judge_is_told() -> None:
    assert structured_prompt("Just the number.\n").startswith("Just the number.\n\nGive this verdict as a JSON object")
    (asked, said, told) = repair_of(({"role": "user", "content": "q"},), "75", "it is no JSON object")
    assert (asked["role"], said["role"], told["role"]) == ("user", "assistant", "user")
    assert said["content"] == "75"
    assert "it is no JSON object" in told["content"]


def test_several_judgements() -> None:
    score = over_repeats([Judgement(70, mass=0.9), Judgement(80, mass=0.7), Judgement.unscored("cut", 0.1)])
    assert (score.value, score.judgements, score.scored, score.reason) == (75, 3, 2, None)
    assert score.spread == pytest.approx(50**0.5)
    assert score.mass == pytest.approx(0.8)
    one = over_repeats([Judgement(70)])
    assert (one.value, one.spread, one.mass) == (70, None, None)
    none = over_repeats([Judgement.unscored("cut", 0.1), Judgement.unscored("empty")])
    assert (none.value, none.reason, none.spread, none.scored) == (None, "cut", None, 0)
    assert none.mass == pytest.approx(0.1)
