"""Measuring, on every answer, what should not make a difference between the arms.

Shapes: N pairs, A answers (2N: chosen, then rejected), T tokens, K confounds, V token kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.errors import ConfigError
from steer_llama.vectors import Confounds

Floats = npt.NDArray[np.float64]

CONFOUNDS = ("position", "length", "token")
"""``position``: where in its answer what is averaged stands; ``length``: of the answer; ``token``: which tokens they
are."""
_PAIRS_PER_AXIS = 10
_MOST_AXES = 10
_LEAST_ANSWERS = 3
"""A token that stands in fewer answers of an arm cannot be compared."""


@dataclass(frozen=True, eq=False)
class Averaged:
    """Which tokens of an answer were averaged."""

    places_T: npt.NDArray[np.int64]
    """Where they stand in the answer, from 0."""
    ids_T: npt.NDArray[np.int32] | None
    """What they are; ``None`` where the file does not say."""
    answer_length: int
    """Tokens of the whole answer."""


def measure_confounds(chosen: Sequence[Averaged], rejected: Sequence[Averaged], kinds: Sequence[str]) -> Confounds:
    """Measure ``kinds`` of confounds on both arms.

    What a mean of tokens owes to their positions is the mean of what each owes to its own; so positions enter as means
    of two functions (the place, and its logarithm, as most happens within the first tokens).

    Raises:
        ConfigError: an unknown kind, or token kinds that are not known.
    """
    answers = [*chosen, *rejected]
    columns: list[tuple[str, Floats]] = []
    for kind in dict.fromkeys(kinds):
        if kind == "position":
            columns.append(("position", np.array([each.places_T.mean() for each in answers])))
            columns.append(("log position", np.array([np.log1p(each.places_T).mean() for each in answers])))
        elif kind == "length":
            columns.append(("log length", np.log([float(each.answer_length) for each in answers])))
        elif kind == "token":
            columns += _token_axes(answers, len(chosen))
        else:
            raise ConfigError(f"--match {kind!r}: unknown. There are: {', '.join(CONFOUNDS)}.")
    names = tuple(name for name, _ in columns)
    values_AK = np.stack([values for _, values in columns], axis=1) if columns else np.zeros((len(answers), 0))
    return Confounds(names, values_AK[: len(chosen)], values_AK[len(chosen) :])


def _token_axes(answers: Sequence[Averaged], n_pairs: int) -> list[tuple[str, Floats]]:
    """The largest differences between the arms in the shares of tokens that both arms use.

    A token of one arm alone (an emoji that only the source writes) has nothing to be compared with and is left alone.
    """
    ids = [each.ids_T for each in answers]
    known = [ids_T for ids_T in ids if ids_T is not None]
    if len(known) < len(ids):
        raise ConfigError("--match token: the file does not hold the tokens. Extract again with steer-llama.")
    in_both = set.intersection(*(_common(known[begin : begin + n_pairs]) for begin in (0, n_pairs)))
    if not in_both:
        return []
    vocabulary_V = np.array(sorted(in_both))
    share_AV = np.stack([(ids_T[:, None] == vocabulary_V).mean(axis=0) for ids_T in known])
    differences_NV = share_AV[:n_pairs] - share_AV[n_pairs:]
    most = min(_MOST_AXES, n_pairs // _PAIRS_PER_AXIS)
    axes_KV = np.linalg.svd(differences_NV, full_matrices=False)[2][: max(1, most)]
    return [(f"token axis {number}", share_AV @ axis_V) for number, axis_V in enumerate(axes_KV, start=1)]


def _common(answers: Sequence[npt.NDArray[np.int32]]) -> set[int]:
    found, counts = np.unique(np.concatenate([np.unique(ids_T) for ids_T in answers]), return_counts=True)
    return set(found[counts >= _LEAST_ANSWERS].tolist())
