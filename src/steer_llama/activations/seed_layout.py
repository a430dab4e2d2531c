"""The seed's own HDF5: every token of every layer, in ``/activations/sample_i_chosen/blocks.L.hook_resid_post``.

Its tokens begin where the answer begins and run to the end of the rendered text (end-of-turn and trailing header
included); it holds no text, so no mask can be found in it. The divergence index is used where the file states it.

Shapes: N pairs, T tokens, D width.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from steer_llama.activations.positions import DIVERGENCE, RESPONSE, PositionChoice
from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.files import digest_file

_SAMPLE = re.compile(r"sample_(\d+)_chosen")
_LAYER = re.compile(r"blocks\.(\d+)\.hook_resid_post")
_DIVERGENCE_KEYS = ("divergence_index", "divergence_idx")


def is_seed_layout(file: Any) -> bool:
    """Whether the file has the seed's groups."""
    return "activations" in file and any(_SAMPLE.fullmatch(name) for name in file["activations"])


class SeedActivations:
    """The seed's file, as `reader.Activations`."""

    def __init__(self, path: Path, file: Any, choice: PositionChoice) -> None:
        for positions in (choice.chosen, choice.rejected):
            if positions not in (RESPONSE, DIVERGENCE):
                raise ConfigError(
                    f"{path}: is in the seed's layout, which holds no text, so {positions!r} cannot be found in it. "
                    f"Use --positions {RESPONSE}, or extract again."
                )
        self._path, self._file = path, file
        self._samples = sorted(int(m.group(1)) for name in file["activations"] if (m := _SAMPLE.fullmatch(name)))
        self.layers = self._layers()
        self.n_pairs = len(self._samples)
        self.model = ""
        self.model_fingerprint = ""
        self.fingerprint = digest_file(path)

    def means(self, arm: str, positions: str, layer: int) -> npt.NDArray[np.float32]:
        """See `reader.Activations.means`."""
        rows = []
        for sample in self._samples:
            tokens_TD = self._tokens(sample, arm, layer)
            rows.append(tokens_TD[0] if positions == DIVERGENCE else tokens_TD.mean(axis=0, dtype=np.float64))
        return np.stack(rows).astype(np.float32)

    def fallbacks(self, arm: str, positions: str) -> int:  # noqa: ARG002 - every answer has response tokens
        """See `reader.Activations.fallbacks`."""
        return 0

    def residual_norm(self, layer: int) -> float:
        """See `reader.Activations.residual_norm`."""
        total, count = 0.0, 0
        for sample in self._samples:
            for arm in ("chosen", "rejected"):
                norms = np.linalg.norm(self._tokens(sample, arm, layer).astype(np.float64), axis=1)
                total, count = total + float(norms.sum()), count + len(norms)
        return total / count

    def close(self) -> None:
        """See `reader.Activations.close`."""
        self._file.close()

    def _layers(self) -> tuple[int, ...]:
        wanted: set[int] | None = None
        for sample in self._samples:
            for arm in ("chosen", "rejected"):
                name = f"sample_{sample}_{arm}"
                if name not in self._file["activations"]:
                    raise RecordError(f"{self._path}: /activations/{name} is missing (its other arm is there).")
                group = self._file["activations"][name]
                here = {int(m.group(1)) for key in group if (m := _LAYER.fullmatch(key))}
                if wanted is not None and here != wanted:
                    raise RecordError(
                        f"{self._path}: /activations/{name} holds other layers than the samples before it."
                    )
                wanted = here
        if not wanted:
            raise FileError(f"{self._path}: no blocks.L.hook_resid_post in its samples.")
        return tuple(sorted(wanted))

    def _tokens(self, sample: int, arm: str, layer: int) -> npt.NDArray[np.float32]:
        where = f"sample_{sample}_{arm}"
        values: npt.NDArray[np.float32] = self._file["activations"][where][f"blocks.{layer}.hook_resid_post"][()]
        if values.ndim == 3 and values.shape[0] == 1:
            values = values[0]
        if values.ndim != 2:
            raise RecordError(f"{self._path}: /activations/{where}: shape {values.shape}, expected (tokens, width).")
        values = values[self._skip(sample) :]
        if len(values) == 0:
            raise RecordError(f"{self._path}: /activations/{where}: no tokens after the divergence.")
        return values

    def _skip(self, sample: int) -> int:
        """Stored tokens before the divergence."""
        metadata = self._file.get(f"metadata/sample_{sample}")
        if metadata is None:
            return 0
        divergence = next((int(metadata.attrs[key]) for key in _DIVERGENCE_KEYS if key in metadata.attrs), None)
        start = metadata.attrs.get("response_start_idx")
        if divergence is None or start is None:
            return 0
        return max(0, divergence - int(start))
