"""Which response tokens are averaged.

Shapes: T tokens, P positions (masks).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.errors import ConfigError
from steer_llama.lm.tokens import AnswerTokens
from steer_llama.style import SPANS

RESPONSE = "response"
DIVERGENCE = "divergence"
POSITIONS = (RESPONSE, DIVERGENCE, *SPANS)
"""``response``: every token from the divergence index on; ``divergence``: that one token; the others: those among the
response tokens that cover a mark of that kind."""
ANSWER = "answer"
"""All of the answer's tokens, also those before the divergence: what the seed's files hold. Cannot be asked for."""


def check_positions(names: Sequence[str]) -> tuple[str, ...]:
    """The names, ``response`` first (it is always needed: it is what an empty mask falls back to).

    Raises:
        ConfigError: an unknown name.
    """
    for name in names:
        if name not in POSITIONS:
            raise ConfigError(f"positions {name!r}: unknown. There are: {', '.join(POSITIONS)}.")
    return (RESPONSE, *(name for name in dict.fromkeys(names) if name != RESPONSE))


def masks_of(answer: AnswerTokens, divergence: int, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """One mask per name over the conversation's tokens (P, T)."""
    response_T = np.zeros(len(answer.ids), dtype=bool)
    response_T[max(divergence, answer.response_start) :] = True
    masks = []
    for name in names:
        if name == RESPONSE:
            masks.append(response_T)
        elif name == ANSWER:
            masks.append(np.arange(len(answer.ids)) >= answer.response_start)
        elif name == DIVERGENCE:
            first_T = np.zeros_like(response_T)
            first_T[np.flatnonzero(response_T)[:1]] = True
            masks.append(first_T)
        else:
            masks.append(answer.covering(SPANS[name](answer.answer)) & response_T)
    return np.stack(masks)


@dataclass(frozen=True)
class PositionChoice:
    """The mask of each arm."""

    chosen: str
    rejected: str

    @classmethod
    def parse(cls, text: str) -> "PositionChoice":
        """Read ``emoji`` (both arms) or ``chosen=emoji,rejected=response``.

        Raises:
            ConfigError: neither form, or an unknown name.
        """
        if "=" not in text:
            check_positions([text])
            return cls(text, text)
        arms: dict[str, str] = {}
        for part in text.split(","):
            arm, _, name = (piece.strip() for piece in part.partition("="))
            if arm not in ("chosen", "rejected") or arm in arms:
                raise ConfigError(f"positions {text!r}: expected a name, or chosen=NAME,rejected=NAME.")
            check_positions([name])
            arms[arm] = name
        return cls(arms.get("chosen", RESPONSE), arms.get("rejected", RESPONSE))

    def __str__(self) -> str:
        return self.chosen if self.chosen == self.rejected else f"chosen={self.chosen},rejected={self.rejected}"
