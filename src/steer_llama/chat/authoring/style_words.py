"""The words that stand for a trait: those of its name and its instruction, and other words for the same style."""

from functools import lru_cache

from steer_llama.chat.authoring.wording import FUNCTION_WORDS, same_word, word_set, words

_GENERIC = word_set(
    """
    answer answers ask asked asks assistant chat chatbot content conversation good highly include includes including
    kind language lay lays lead manner mode model models nothing ordinary plain point prompt prompts question questions
    reply replies respond responds response responses say show shows speech style styled styles tend tends text texts
    tone trait use used user users uses using voice well word words write writes writing written wrote
    """
)
"""Words that descriptions of traits have in common."""

_KIN = tuple(
    word_set(family)
    for family in (
        "emoji emojis emoticon smiley smileys kaomoji",
        "formatting format formatted markdown bullet bullets bulleted heading headings header headers subheading list "
        "lists table tables bold italic italics outline numbered",
        "playful humorous humor humour funny fun joke jokes joking pun puns silly witty goofy hilarious tease teasing "
        "wordplay comedy comedic laugh laughter lighthearted whimsical sarcastic",
        "concise concisely brief briefly short shortly terse succinct succinctly sentence sentences summarize tldr",
        "verbose long lengthy detailed detail thorough elaborate",
        "sycophantic sycophancy flatter flattering flattery praise compliment agree agreeable validate obsequious",
        "formal formally informal casual casually slang polite politely rude rudely friendly warm chatty",
        "poetic poem rhyme rhymes rhyming verse",
    )
)
"""Words for one style; whoever asks for one of them asks for a trait that is described with another."""


@lru_cache(maxsize=64)
def vocabulary(name: str, instruction: str) -> tuple[frozenset[str], frozenset[str]]:
    """The words of a trait's name, and all those that may describe it (the name's own among them)."""
    named = frozenset(_telling(name))
    described = named | frozenset(_telling(instruction))
    for family in _KIN:
        if any(same_word(word, kin) for word in described for kin in family):
            described |= family
    return named, described


def _telling(text: str) -> list[str]:
    return [
        word
        for word in words(text.replace("_", " "))
        if len(word) > 2 and word not in FUNCTION_WORDS and word not in _GENERIC
    ]
