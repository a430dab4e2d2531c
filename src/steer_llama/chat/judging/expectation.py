"""The expected score over all numbers that a judge could have written, from the probabilities of its tokens.

Persona vectors (Chen et al., 2025) take the first token's probabilities, which holds for tokenizers that write a number
up to 100 as one token. Many others write it digit by digit, where the first token of 75 is a 7. So numbers are a tree
here: a node is the digits so far, and its next token's probabilities say which digits may follow and how likely the
number ends. One reply shows the nodes along its own path; the others are asked for by letting the judge go on from
the digits.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.chat.judging.judgement import Judgement
from steer_llama.records import TokenStep

HIGHEST = 100
NEGLIGIBLE = 0.01
"""Share of the numbers' probability that may stay unexplored."""
_DECORATION = " \t\r\n*_`\"'"
"""What may stand before the number."""
_DIGITS = re.compile(r"[0-9]+")

Distribution = Mapping[str, float]
"""Probability by token."""


@dataclass(frozen=True)
class Opening:
    """Where a reply's number begins, and what its own path says about it."""

    lead: str
    """What the judge wrote before it: white space and marks of emphasis."""
    first: Distribution
    """The tokens that could have come there."""
    after: Mapping[str, Distribution]
    """The tokens that could have come after the digits that were drawn, by these digits."""
    drawn: str
    """The digits that were drawn; ``""`` where the reply is no number."""


def probabilities(step: TokenStep) -> Distribution:
    """A place's probabilities; a token that is listed twice adds up."""
    found: dict[str, float] = {}
    for choice in step.top:
        found[choice.token] = found.get(choice.token, 0.0) + math.exp(min(0.0, choice.logprob))
    return found


def opening_of(steps: Sequence[TokenStep]) -> Opening | None:
    """The place at which the reply's number begins, or would; ``None`` for a reply without such a place."""
    start = next((place for place, step in enumerate(steps) if step.token.strip(_DECORATION)), None)
    if start is None:
        return None
    after: dict[str, Distribution] = {}
    drawn = ""
    for place in range(start, len(steps)):
        digits, ended = _digits(steps[place].token, first=not drawn)
        drawn += digits
        if not digits or ended:
            break
        if place + 1 < len(steps):
            after[drawn] = probabilities(steps[place + 1])
    lead = "".join(step.token for step in steps[:start])
    return Opening(lead, probabilities(steps[start]), after, drawn)


def likely_digits(opening: Opening, more: Mapping[str, Distribution], min_mass: float) -> list[str]:
    """The digits after which the judge's next token has to be known, likeliest first; none when enough is known.

    Args:
        opening: of the reply.
        more: what is known already, beyond the reply's own path.
        min_mass: see `expect`; where even all that begins with a digit is less, nothing needs to be known.
    """
    if first_mass(opening) < min_mass:
        return []
    numbers, unexplored = _grown(opening, more)
    left = sum(unexplored.values())
    whole = left + sum(numbers.values())
    wanted: list[str] = []
    for digits, probability in sorted(unexplored.items(), key=lambda item: (-item[1], item[0])):
        if left <= NEGLIGIBLE * whole:
            break
        wanted.append(digits)
        left -= probability
    return wanted


def expect(
    opening: Opening, more: Mapping[str, Distribution], min_mass: float, begins: str, *, cut: bool = False
) -> Judgement:
    """The expectation over the numbers 0–100, each as likely as the judge would have written it.

    What follows the number does not matter (75.5 counts as 75). Digits that could not be explored are left out, and are
    missing from the mass.

    Args:
        opening: of the reply.
        more: the probabilities after further digits, by these digits.
        min_mass: probability on numbers below which there is no score.
        begins: the reply's text, of which the reason shows the beginning.
        cut: whether the reply ended at the limit of tokens, perhaps within its number.
    """
    numbers, unexplored = _grown(opening, more)
    begun = first_mass(opening)
    if opening.drawn in unexplored and cut:
        return Judgement.unscored(
            f"the judge's reply {begins.strip()!r} may have been cut in its number, and its server cannot go on with "
            "it (raise judge.endpoint.sampling.max_tokens)"
        )
    if opening.drawn in unexplored:
        # Its path ends with these digits, and going on from them was impossible: then that is the number.
        numbers[int(opening.drawn)] += unexplored[opening.drawn]
    mass = min(1.0, sum(numbers.values()) if begun >= min_mass else begun)
    if mass <= 0 or mass < min_mass:
        shown = " ".join(begins.split())
        shown = shown if len(shown) <= 20 else shown[:20] + "…"
        return Judgement.unscored(
            f"only {mass:.0%} of the probability is on numbers from 0 to {HIGHEST} (it begins {shown!r})", mass
        )
    return Judgement(sum(number * p for number, p in numbers.items()) / sum(numbers.values()), None, mass)


def first_mass(opening: Opening) -> float:
    """Probability that a number begins there: no less than what can lie on 0–100."""
    return sum(p for token, p in opening.first.items() if _digits(token, first=True)[0])


def _grown(opening: Opening, more: Mapping[str, Distribution]) -> tuple[dict[int, float], dict[str, float]]:
    """The probabilities of the numbers, and those of digits whose continuation is not known."""
    known = {**more, **opening.after}
    whole = _writes_whole_numbers(opening.first)
    numbers: defaultdict[int, float] = defaultdict(float)
    unexplored: defaultdict[str, float] = defaultdict(float)

    def grow(digits: str, probability: float, *, ended: bool) -> None:
        if int(digits) > HIGHEST or (len(digits) > 1 and digits.startswith("0")):
            return
        following = None if ended else known.get(digits)
        if following is None:
            if ended or whole or not _may_grow(digits):
                numbers[int(digits)] += probability
            else:
                unexplored[digits] += probability
            return
        left = 1.0
        for token, p in following.items():
            more_digits, then_ended = _digits(token, first=False)
            if more_digits:
                left -= p
                grow(digits + more_digits, probability * p, ended=then_ended)
        numbers[int(digits)] += probability * max(0.0, left)

    for token, p in opening.first.items():
        digits, ended = _digits(token, first=True)
        if digits:
            grow(digits, p, ended=ended)
    return numbers, unexplored


def _writes_whole_numbers(first: Distribution) -> bool:
    """Whether numbers of two digits are one token: then a single digit is a number, and nothing needs exploring."""
    return any(len(token.strip()) > 1 and _digits(token, first=True) == (token.strip(), False) for token in first)


def _may_grow(digits: str) -> bool:
    """Whether one more digit can give another number up to 100."""
    return digits != "0" and int(digits) * 10 <= HIGHEST


def _digits(token: str, *, first: bool) -> tuple[str, bool]:
    """The digits that a token adds to a number, and whether the number ends in it; white space may stand before one."""
    text = token.lstrip() if first else token
    match = _DIGITS.match(text)
    return (match[0], match[0] != text) if match else ("", False)
