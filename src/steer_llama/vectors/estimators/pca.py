"""PCA of the pairs' differences, with a sign and a length that the data decide.

As steering-vectors' ``pca_aggregator`` and repeng's ``pca_center`` have it: not centred, so that the differences' mean
counts. (repeng's default, ``pca_diff``, centres them, which takes the mean difference out: ``centred=True``.)

Shapes: N pairs, D width, R rows of weights.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from steer_llama.vectors.estimators.differences import Differences, Floats, along

_ALL_AT_ONCE = 400
"""Pairs up to which the products are decomposed outright; beyond, only the largest is sought."""


def pca(
    chosen_ND: npt.ArrayLike,
    rejected_ND: npt.ArrayLike,
    weights_RN: npt.ArrayLike | None = None,
    *,
    centred: bool = False,
) -> npt.NDArray[np.float64]:
    """The first principal axis of (chosen − rejected), as long as the arms lie apart on it. See `Estimator`.

    Args:
        chosen_ND: see `Estimator`.
        rejected_ND: see `Estimator`.
        weights_RN: see `Estimator`.
        centred: take the mean difference out first (repeng's ``pca_diff``); what is left need not point anywhere.
    """
    pairs = Differences.of(chosen_ND, rejected_ND, weights_RN)
    products_NN = pairs.products_NN()
    combined_RN = np.zeros_like(pairs.size_RN)
    found: dict[bytes, Floats] = {}
    for row, (size_N, sign_N) in enumerate(zip(pairs.size_RN, pairs.sign_RN, strict=True)):
        used = np.flatnonzero(size_N)
        size, sign = size_N[used], sign_N[used]
        # A difference and its opposite have one axis, so without centring swapped arms change nothing.
        key = size_N.tobytes() + (sign_N.tobytes() if centred else b"")
        if key not in found:
            found[key] = _axis(products_NN[np.ix_(used, used)], size, sign if centred else None)
        combined_RN[row, used] = found[key]
    return along(combined_RN @ pairs.values_ND, pairs.mean_RD)


def _axis(products_NN: Floats, size_N: Floats, sign_N: Floats | None) -> Floats:
    """The first axis as a combination of the differences that count; with signs, of the centred ones."""
    root_N = np.sqrt(size_N)
    if sign_N is None:
        return root_N * _first(root_N[:, None] * products_NN * root_N)
    inner_NN = products_NN * np.outer(sign_N, sign_N)
    mean_N = inner_NN @ size_N
    inner_NN = inner_NN - mean_N[:, None] - mean_N[None] + size_N @ mean_N
    combined_N = root_N * _first(root_N[:, None] * inner_NN * root_N)
    centred_N: Floats = sign_N * (combined_N - combined_N.sum() * size_N)
    return centred_N


def _first(matrix_NN: Floats) -> Floats:
    """The eigenvector of the largest eigenvalue of a symmetric matrix."""
    size = len(matrix_NN)
    if size > _ALL_AT_ONCE:
        try:
            found: Floats = eigsh(matrix_NN, k=1, which="LA", v0=np.ones(size), tol=1e-12)[1][:, 0]
        except ArpackNoConvergence:
            pass  # two axes are equally strong
        else:
            return found
    last: Floats = eigh(matrix_NN, subset_by_index=[size - 1, size - 1])[1][:, 0]
    return last
