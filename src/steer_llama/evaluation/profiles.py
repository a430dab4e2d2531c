"""The style profile of an answer, per 100 tokens, and the units in which profiles are compared.

Shapes: N answers, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.records import Trial

Floats = npt.NDArray[np.float64]

PROFILE = ("emoji", "markdown", "length", "punctuation", "sentence_words", "exclamations", "questions")
"""What a profile consists of: marks per 100 tokens, the length in tokens, and words per sentence."""

_MARKDOWN = ("headings", "bullets", "bold", "italics", "code", "links")
_CLIPPED = 0.1
"""Share of the answers at either end that is pulled in before a feature's spread is taken."""


@dataclass(frozen=True)
class Scale:
    """The unit of each feature, in the order of `PROFILE`: what counts as a difference of 1."""

    unit_F: tuple[float, ...]


def profile_of(trial: Trial) -> tuple[float, ...] | None:
    """The answer's profile, or ``None`` where it was not measured.

    It is computed from `Trial.features`, which are per 100 words, so no text is measured twice. An empty answer has a
    profile of zeros. An answer without features, or whose tokens could not be counted, has none.
    """
    if not trial.text.strip():
        return (0.0,) * len(PROFILE)
    if not trial.features or trial.tokens <= 0:
        return None
    features = trial.features
    # A text without words counts as one word there, so it does here.
    per_tokens = max(1.0, features.get("words", 0.0)) / trial.tokens
    values = {
        "emoji": features.get("emoji", 0.0) * per_tokens,
        "markdown": sum(features.get(name, 0.0) for name in _MARKDOWN) * per_tokens,
        "length": float(trial.tokens),
        "punctuation": features.get("punctuation", 0.0) * per_tokens,
        "sentence_words": features.get("sentence_words", 0.0),
        "exclamations": features.get("exclamations", 0.0) * per_tokens,
        "questions": features.get("questions", 0.0) * per_tokens,
    }
    return tuple(values[name] for name in PROFILE)


def profile_scale(source: Sequence[Trial], unsteered: Sequence[Trial]) -> Scale:
    """The units in which profiles are compared, from the source's and the unsteered target's answers together.

    A feature's unit is the mean difference between two of these answers, after the lowest and the highest tenth are
    pulled in to the next one: a single odd answer does not stretch it. It is no less than a floor, so that a feature
    that neither has still counts when steering makes it appear: one mark in an answer of the median length, a tenth
    of that length, one word per sentence. The steered answers have no part in it, so that it is the same for all.
    """
    known = [profile for trial in (*source, *unsteered) if (profile := profile_of(trial)) is not None]
    if not known:
        return Scale((1.0,) * len(PROFILE))
    profiles_NF = np.array(known)
    length = max(1.0, float(np.median(profiles_NF[:, PROFILE.index("length")])))
    floors = {"length": length / 10, "sentence_words": 1.0}
    return Scale(
        tuple(
            max(_spread(values_N), floors.get(name, 100 / length))
            for name, values_N in zip(PROFILE, profiles_NF.T, strict=True)
        )
    )


def _spread(values_N: Floats) -> float:
    """Mean absolute difference between two of the values, the ends pulled in."""
    ordered_N = np.sort(values_N)
    n, cut = len(ordered_N), int(_CLIPPED * len(ordered_N))
    if n < 2:
        return 0.0
    clipped_N = np.clip(ordered_N, ordered_N[cut], ordered_N[n - 1 - cut])
    return float(np.abs(clipped_N[:, None] - clipped_N[None, :]).sum() / (n * (n - 1)))
