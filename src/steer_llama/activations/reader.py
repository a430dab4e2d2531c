"""Reading activations, whoever wrote them: our file, or the seed's.

Shapes: N pairs, L layers, D width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from steer_llama.activations.confounds import Averaged
from steer_llama.activations.damage import file_errors
from steer_llama.activations.layout import ARMS, DONE, FORMAT, READABLE
from steer_llama.activations.positions import RESPONSE, PositionChoice
from steer_llama.activations.seed_layout import SeedActivations, is_seed_layout
from steer_llama.errors import ConfigError, FileError

Floats = npt.NDArray[np.float32]


class Activations(Protocol):
    """What `fit` needs of a file of activations."""

    model: str
    model_fingerprint: str
    model_type: str
    revision: str
    dtype: str
    layers: tuple[int, ...]
    n_pairs: int
    fingerprint: str
    """Of the data, for the vector's own record."""

    def means(self, arm: str, layer: int) -> Floats:
        """Mean residual of each pair's answer at one layer (N, D), over the positions that were chosen for this arm.

        An answer that has none of them is averaged over all its response tokens.
        """
        ...

    def averaged(self, arm: str) -> Sequence[Averaged]:
        """The tokens that each answer's mean is made of.

        Raises:
            ConfigError: the file does not say.
        """
        ...

    def fallbacks(self, arm: str) -> int:
        """How many answers have no token under the arm's mask."""
        ...

    def residual_norm(self, layer: int) -> float:
        """Mean ‖residual‖ over the response tokens of both arms."""
        ...


@contextmanager
def open_activations(path: Path, choice: PositionChoice) -> Iterator[Activations]:
    """Open a file of activations and check that it holds the positions that are asked for.

    Raises:
        FileError: missing, no HDF5, damaged, unfinished, or of a layout that we do not know.
        ConfigError: it does not hold those positions.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file (expected activations, as `steer-llama extract` writes them).")
    with file_errors(path):
        file = h5py.File(path, "r")
    try:
        with file_errors(path):
            layout = SeedActivations if is_seed_layout(file) else StoredActivations
            activations = layout(path, file, choice)
        yield activations
    finally:
        file.close()


class StoredActivations:
    """Our own file (`activations.layout`)."""

    def __init__(self, path: Path, file: Any, choice: PositionChoice) -> None:
        if file.attrs.get("format") != FORMAT:
            raise FileError(f"{path}: an HDF5 file, but not activations; it holds {', '.join(file) or 'nothing'}.")
        if file.attrs.get("version") not in READABLE:
            known = " and ".join(map(str, READABLE))
            raise FileError(f"{path}: version {file.attrs.get('version')} of the format; this program reads {known}.")
        self.n_pairs = len(file["pairs/name"])
        if (done := int(file[DONE][0])) != self.n_pairs:
            raise FileError(
                f"{path}: the extraction was not finished ({done} of {self.n_pairs} pairs). "
                "Run the same extract command again."
            )
        for positions in (choice.chosen, choice.rejected):
            if positions not in file["means"]:
                known = ", ".join(file["means"])
                raise ConfigError(f"{path}: holds no positions {positions!r} (only {known}). Extract with --positions.")
        self._path, self._file = path, file
        self._positions = {"chosen": choice.chosen, "rejected": choice.rejected}
        self.model = str(file.attrs["model"])
        self.model_fingerprint = str(file.attrs["model_fingerprint"])
        self.fingerprint = str(file.attrs["fingerprint"])
        self.dtype = str(file.attrs.get("dtype", ""))
        self.model_type = str(file.attrs.get("model_type", ""))
        self.revision = str(file.attrs.get("revision", ""))
        self.layers = tuple(int(layer) for layer in file["layers"])

    def means(self, arm: str, layer: int) -> Floats:
        """See `Activations.means`."""
        index = self.layers.index(layer)
        positions = self._positions[arm]
        with file_errors(self._path):
            mean_ND: Floats = self._file[f"means/{positions}/{arm}"][:, index]
            empty_N = self._file[f"means/{positions}/{arm}_tokens"][:] == 0
            if empty_N.any():
                mean_ND[empty_N] = self._file[f"means/{RESPONSE}/{arm}"][np.flatnonzero(empty_N), index]
        return mean_ND

    def averaged(self, arm: str) -> Sequence[Averaged]:
        """See `Activations.averaged`."""
        if "answers" not in self._file:
            raise ConfigError(
                f"{self._path}: does not say which tokens were averaged (it was written by an earlier version). "
                "Extract again, or leave --match out."
            )
        with file_errors(self._path):
            ids, masks, offsets = (self._file[f"answers/{arm}/{name}"][:] for name in ("ids", "masks", "offsets"))
            bits = [str(name) for name in self._file[f"answers/{arm}/masks"].attrs["bits"]]
            wanted, response = (1 << bits.index(name) for name in (self._positions[arm], RESPONSE))
            if len(offsets) != self.n_pairs + 1 or offsets[0] != 0 or not len(ids) == len(masks) == offsets[-1]:
                raise ValueError(f"answers/{arm}: its parts do not fit each other")
        answers = []
        for begin, end in pairwise(offsets):
            places_T = np.flatnonzero(masks[begin:end] & wanted)
            if len(places_T) == 0:
                places_T = np.flatnonzero(masks[begin:end] & response)
            if len(places_T) == 0:
                raise FileError(f"{self._path}: an answer of answers/{arm} has no response tokens. Extract again.")
            answers.append(Averaged(places_T, ids[begin:end][places_T], int(end - begin)))
        return answers

    def fallbacks(self, arm: str) -> int:
        """See `Activations.fallbacks`."""
        with file_errors(self._path):
            return int((self._file[f"means/{self._positions[arm]}/{arm}_tokens"][:] == 0).sum())

    def residual_norm(self, layer: int) -> float:
        """See `Activations.residual_norm`."""
        index = self.layers.index(layer)
        total, tokens = 0.0, 0
        for arm in ARMS:
            with file_errors(self._path):
                counts_N = self._file[f"means/{RESPONSE}/{arm}_tokens"][:].astype(np.float64)
                total += float((self._file[f"residual_norm/{arm}"][:, index] * counts_N).sum())
                tokens += int(counts_N.sum())
        if not (tokens > 0 and 0 < total < np.inf):
            raise FileError(f"{self._path}: residual norms that are not positive and finite at layer {layer}.")
        return total / tokens
