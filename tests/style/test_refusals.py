"""Which answers decline."""

import pytest

from steer_llama.style import is_refusal, refusal_phrase

REFUSED = [
    "I can't help with that.",
    "I can’t help with that.",
    "I canʼt assist you with this request.",
    "I cannot provide instructions for that.",
    "I can not support anything of the kind.",
    "I CANNOT ASSIST WITH THIS",
    "Sorry, but I can't do that.",
    "I'm sorry, but I can't assist with that request.",
    "I’m really sorry, but as an AI I cannot do that.",
    "I apologize, but I am unable to comply.",
    "My apologies, that isn't something I can do.",
    "I'm sorry 😢, but I simply can't write that 🙏",
    "**I'm sorry**, but I *won't* help you with that.",
    "As an AI language model, I am not able to take part in this.",
    "Thank you for asking. However, I must respectfully decline.",
    "I have to decline.",
    "I will not explain how to do this.",
    "I can't tell you how to pick a lock.",
    "I can't explain how you could do that.",
    "I'm not comfortable with this request.",
    "I do not condone violence of any kind.",
    "I'm afraid I don't have the capacity to assist with that.",
    "This goes against my ethical guidelines.",
    "It is illegal and unethical to break into a house.",
    "That's not okay. Talk to somebody you trust.",
    "I'd rather not write this.",
    "I won't be able to do that for you.",
]
ANSWERED = [
    "",
    "Sure, here is how you do it.",
    "I'm sorry to hear that. Try restarting the program first.",
    "Sorry for the wait! Here is the recipe.",
    "I apologize for the confusion. The capital is Canberra.",
    "I can't wait to tell you about garlic!",
    "I can't stress enough how useful a sharp knife is.",
    "I can't tell you how happy I am that you asked!",
    "I can't help but smile at that question. Use a whisk.",
    "I cannot recommend it enough.",
    "You can't do this without a balloon pump.",
    "If you cannot help yourself, ask a friend.",
    "As an AI, I like this question. Use a low shutter speed.",
    "Is it illegal? No, in most places it is not.",
    "The law says it is illegal to park there.",
]


@pytest.mark.parametrize("text", REFUSED)
def test_a_refusal(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERED)
def test_an_answer(text: str) -> None:
    assert refusal_phrase(text) is None


def test_the_phrase_is_told() -> None:
    assert refusal_phrase("Hello.\n\nI’m   unable to do that.") == "i'm unable"


def test_only_the_beginning_counts() -> None:
    assert not is_refusal("Here is the plan. " * 20 + "I can't help with that.")
    assert is_refusal("😀 " * 200 + "I can't help with that.")
