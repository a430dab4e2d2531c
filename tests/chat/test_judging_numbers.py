"""The expectation over numbers, against sums over every string that a made-up judge can write."""

import math
from collections.abc import Callable

import pytest

from steer_llama.chat.judging import Distribution, Judgement, likely_digits, opening_of, read_reply
from steer_llama.records import ChatReply, TokenChoice, TokenStep

Writer = Callable[[str], Distribution]
"""The next token's probabilities after what was written."""
END = "<end>"


def step(token: str, chances: Distribution) -> TokenStep:
    ranked = sorted(chances.items(), key=lambda item: -item[1])
    top = tuple(TokenChoice(token=name, logprob=math.log(p) if p > 0 else -9999.0) for name, p in ranked)
    return TokenStep(token=token, top=top)


def reply(*steps: TokenStep, **more: str) -> ChatReply:
    text = "".join(one.token for one in steps if one.token != END)
    return ChatReply(key="k", finish_reason="stop", model="m", steps=steps, **{"text": text, **more})


def written(writer: Writer, drawn: list[str]) -> ChatReply:
    so_far, steps = "", []
    for token in drawn:
        steps.append(step(token, writer(so_far)))
        so_far += token
    return reply(*steps)


def by_digits(chances: dict[int, float]) -> Writer:
    """A judge that writes numbers digit by digit, each with its probability; the rest goes to a word."""

    def next_token(so_far: str) -> Distribution:
        begun = {n: p for n, p in chances.items() if str(n).startswith(so_far)}
        total = sum(begun.values()) if so_far else 1.0
        found: dict[str, float] = {} if so_far else {"I": 1 - sum(begun.values())}
        for number, p in begun.items():
            token = str(number)[len(so_far)] if str(number) != so_far else END
            found[token] = found.get(token, 0.0) + p / total
        return found

    return next_token


def judged(writer: Writer, drawn: list[str], *, explore: bool = True) -> tuple[Judgement, list[str]]:
    answer = written(writer, drawn)
    more: dict[str, Distribution] = {}
    asked: list[str] = []
    opening = opening_of(answer.steps)
    assert opening is not None
    while explore and (digits := likely_digits(opening, more, 0.25)):
        asked += digits
        more |= {one: writer(one) for one in digits}
    return read_reply("logprobs", answer, more, 0.25), asked


SPREAD = {75: 0.3, 70: 0.2, 80: 0.15, 100: 0.1, 10: 0.08, 7: 0.05, 0: 0.05, 15: 0.04}


def test_digit_by_digit() -> None:
    found, asked = judged(by_digits(SPREAD), ["7", "5", END])
    mass = sum(SPREAD.values())
    assert found.score == pytest.approx(sum(n * p for n, p in SPREAD.items()) / mass)
    assert found.mass == pytest.approx(mass)
    # 7 was drawn and is known; 0 is a number by itself; 10 may go on to 100
    assert asked == ["1", "8", "10"]


@pytest.mark.parametrize("drawn", [["1", "0", "0", END], ["8", "0", END], ["0", END], ["7", END], ["1", "5"]])
def test_the_path_that_was_drawn_does_not_matter(drawn: list[str]) -> None:
    found, _ = judged(by_digits(SPREAD), drawn)
    expected = sum(n * p for n, p in SPREAD.items()) / sum(SPREAD.values())
    assert found.score == pytest.approx(expected)


def test_every_number_equally_likely() -> None:
    found, asked = judged(by_digits(dict.fromkeys(range(101), 1 / 101)), ["4", "2", END])
    assert found.score == pytest.approx(50)
    assert asked == ["1", "2", "3", "5", "6", "7", "8", "9", "10"]


def test_numbers_above_100_are_no_scores() -> None:
    found, _ = judged(by_digits({100: 0.5, 1000: 0.2, 150: 0.0, 40: 0.3}), ["1", "0", "0", END])
    # what follows 100 is known, as it was drawn
    assert found.score == pytest.approx((100 * 0.5 + 40 * 0.3) / 0.8)
    assert found.mass == pytest.approx(0.8)


def test_what_is_too_unlikely_is_not_explored() -> None:
    found, asked = judged(by_digits({75: 0.99, 20: 0.004, 31: 0.004}), ["7", "5", END])
    assert asked == []
    assert found.score == pytest.approx(75)


def test_without_exploring_the_drawn_digits_count() -> None:
    found, _ = judged(by_digits(SPREAD), ["7", "5", END], explore=False)
    assert found.score == pytest.approx((75 * 0.3 + 70 * 0.2 + 7 * 0.05 + 0) / 0.6)
    assert found.mass == pytest.approx(0.6)
    # a server that does not tell the last place: the digits that were drawn are the number
    cut = reply(step("7", by_digits(SPREAD)("")))
    assert read_reply("logprobs", cut, {}, 0.25).score == pytest.approx(7 * 0.55 / 0.6)


def test_whole_numbers_need_no_exploring() -> None:
    first = {"75": 0.4, " 75": 0.1, "7": 0.1, "100": 0.2, "150": 0.1, "I": 0.1}
    answer = reply(step("75", first), step(END, {END: 1.0}))
    opening = opening_of(answer.steps)
    assert opening is not None
    assert likely_digits(opening, {}, 0.25) == []
    found = read_reply("logprobs", answer, {}, 0.25)
    assert found.score == pytest.approx((75 * 0.5 + 7 * 0.1 + 100 * 0.2) / 0.8)
    assert found.mass == pytest.approx(0.8)


def test_white_space_and_emphasis_are_walked_over() -> None:
    answer = reply(step("\n", {"\n": 1.0}), step("**", {"**": 0.9, "A": 0.1}), step("50", {"50": 0.75, "30": 0.25}))
    opening = opening_of(answer.steps)
    assert opening is not None
    assert opening.lead == "\n**"
    assert read_reply("logprobs", answer, {}, 0.25).score == pytest.approx(45)


def test_too_little_on_numbers_is_unscored() -> None:
    first = {"I": 0.88, "7": 0.1, "75": 0.02}
    answer = reply(step("I", first), step(" think", {" think": 1.0}), text="I think\nit is")
    found = read_reply("logprobs", answer, {}, 0.25)
    assert found.score is None
    assert found.mass == pytest.approx(0.12)
    assert found.reason == ("only 12% of the probability is on numbers from 0 to 100 (it begins 'I think it is')")
    # nothing is asked for a judgement that cannot have a score
    digits_only = opening_of([step("I", {"I": 0.9, "7": 0.1})])
    assert digits_only is not None
    assert likely_digits(digits_only, {}, 0.25) == []


def test_no_numbers_at_all_is_unscored_whatever_the_minimum() -> None:
    assert read_reply("logprobs", reply(step("I", {"I": 1.0})), {}, 0.0).score is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("REFUSAL", "refusal"),
        ("refusal.", "refusal"),
        ("7/10", "no score from 0 to 100"),
        ("8 out of 10", "no score"),
        ("0.8", "no score"),
        ("1. The answer", "no score"),
    ],
)
def test_what_the_text_says_goes_before_the_probabilities(text: str, says: str) -> None:
    found = read_reply("logprobs", reply(step(text[0], {text[0]: 1.0}), text=text), {}, 0.25)
    assert found.score is None
    assert says in str(found.reason)


@pytest.mark.parametrize("text", ["7", "75/100", "75 out of 100", "75.5", "8\n", "10"])
def test_texts_that_go_on_after_a_score(text: str) -> None:
    assert read_reply("logprobs", reply(step("75", {"75": 1.0}), text=text), {}, 0.25).score == 75


def test_no_log_probabilities() -> None:
    found = read_reply("logprobs", reply(text="75"), {}, 0.25)
    assert found == Judgement.unscored("the endpoint gave no log probabilities for this reply")


@pytest.mark.parametrize(("drawn", "chances"), [("7", {75: 0.9}), ("1", {100: 0.9}), ("10", {100: 0.9})])
def test_a_number_that_may_have_been_cut_is_unscored(drawn: str, chances: dict[int, float]) -> None:
    """By a limit of one or two tokens, at a server that cannot go on with an answer: 75 must not become 7."""
    writer = by_digits(chances)
    cut = written(writer, list(drawn)).model_copy(update={"finish_reason": "length"})
    judgement = read_reply("logprobs", cut, {}, 0.25)
    assert judgement.score is None
    assert "may have been cut in its number" in str(judgement.reason)


@pytest.mark.parametrize("text", ["10/10", "10 out of 10", "9.5/10", "1,000"])
def test_a_score_on_another_scale(text: str) -> None:
    first = step(text[:1], {text[:1]: 0.9})
    judgement = read_reply("logprobs", reply(first, text=text), {}, 0.25)
    assert judgement.score is None
    assert "no score from 0 to 100" in str(judgement.reason)
