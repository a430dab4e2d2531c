"""How much a text repeats itself."""

from steer_llama.style.features import word_spans
from steer_llama.style.spans import emoji_spans


def distinct_n(text: str, n: int) -> float | None:
    """Distinct n-grams over all n-grams, 0–1, of the text's words (lower-cased) and emoji (Li et al. 2016, distinct-n).

    Emoji are tokens, so that a row of the same emoji is as repetitive as a row of the same word. ``None`` where there
    are fewer than ``n`` tokens: nothing to tell from.
    """
    if n < 1:
        raise ValueError(f"distinct_n: n is {n}, expected 1 or more")
    spans = sorted([*word_spans(text), *emoji_spans(text)])
    tokens = [text[start:end].lower() for start, end in spans]
    grams = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None
