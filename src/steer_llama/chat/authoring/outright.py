"""A question that asks for the trait outright: its answer would show what was asked for and not a model's own style."""

import regex

from steer_llama.chat.authoring.style_words import vocabulary
from steer_llama.chat.authoring.wording import same_word, word_set, words
from steer_llama.records import Trait

_CLAUSE = regex.compile(r"[.!?;:,…—–()]+|\band\b|\bbut\b|\bthen\b|\bplease\b")
_POLITE = regex.compile(r"^(?:(?:can|could|would|will) you|i (?:want|need) you to|id like you to|try to|you must)\s+")
_MANNER_VERBS = word_set(
    "answer reply respond write speak talk explain describe tell say phrase sound define discuss compare"
)
_FORM_VERBS = word_set(
    """
    use include add put insert sprinkle avoid give make tell write show keep be stay act format structure organize
    start begin end finish present lay summarize list share crack no without praise flatter compliment agree joke tease
    """
)
_LINKS = word_set("with in using as through by without no like via")
_TONES = word_set("tone voice manner style format")
_REACH = 5
"""Words between the request and what it asks for."""


def asks_outright(question: str, trait: Trait) -> str | None:
    """How ``question`` asks for ``trait``, in words; ``None`` if it does not.

    It does when it names the trait, or prescribes a form of the answer in words that describe the trait.
    """
    named, described = vocabulary(trait.name, trait.trait_instruction)
    for word in words(question):
        if any(same_word(word, name) for name in named):
            return f"it names the trait ({word!r})"
    for clause in _clauses(question):
        if found := _request(clause, described):
            return f"it asks for the trait ({found!r})"
    return None


def _clauses(question: str) -> list[list[str]]:
    """The question in pieces that each may begin with a request, polite beginnings taken off."""
    text = " ".join(question.casefold().replace("'", "").replace("’", "").split())
    pieces = (piece.strip() for piece in _CLAUSE.split(text))
    return [words(_POLITE.sub("", piece)) for piece in pieces if piece]


def _request(clause: list[str], described: frozenset[str]) -> str | None:
    """The words with which a clause asks for a style that is ``described``."""
    for place, word in enumerate(clause):
        if any(same_word(word, style) for style in described) and _is_wanted(clause, place):
            return " ".join(clause[max(0, place - _REACH) : place + 2])
    return None


def _is_wanted(clause: list[str], place: int) -> bool:
    """Whether the clause asks for an answer with the style word at ``place``."""
    verb, before = clause[0], clause[max(0, place - _REACH) : place]
    if verb in _FORM_VERBS or verb in _LINKS:  # "Use a list", "List the ...", "..., with many jokes"
        return place <= _REACH
    if verb in _MANNER_VERBS:  # "Answer briefly", "Explain rain in a funny way"
        return 0 < place <= 2 or bool(_LINKS & set(before))
    # "What is rain in bullet points?", "What is rain in a cheerful tone?"
    ends = place >= len(clause) - 2 or bool(_TONES & set(clause[place + 1 : place + 3]))
    return ends and bool(_LINKS & set(before[-2:]))
