"""The seed's own HDF5: every token of every layer, in ``/activations/sample_i_chosen/blocks.L.hook_resid_post``.

Its tokens begin where the answer begins and run to the end of the rendered text (end-of-turn and trailing header
included; `per_sample`, which writes this layout too, leaves those out). It holds no text, so no mask can be found in
it. The divergence index is used where the file states it, beside ``response_start_idx`` in the attributes of
``/metadata/sample_i`` (a group or a dataset).

Shapes: N pairs, T tokens, D width.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from steer_llama.activations.confounds import Averaged
from steer_llama.activations.damage import file_errors
from steer_llama.activations.layout import ARMS
from steer_llama.activations.positions import DIVERGENCE, RESPONSE, PositionChoice
from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.files import digest_file

_SAMPLE = re.compile(r"sample_(\d+)_(chosen|rejected)")
_LAYER = re.compile(r"blocks\.(\d+)\.hook_resid_post")
_DIVERGENCE_KEYS = ("divergence_index", "divergence_idx")


def is_seed_layout(file: Any) -> bool:
    """Whether the file has the seed's groups."""
    group = file.get("activations")
    return isinstance(group, h5py.Group) and any(_SAMPLE.fullmatch(name) for name in group)


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
        self._positions = {"chosen": choice.chosen, "rejected": choice.rejected}
        numbers = {int(match[1]) for name in file["activations"] if (match := _SAMPLE.fullmatch(name))}
        self._samples = sorted(numbers)
        self.layers = self._layers()
        self.n_pairs = len(self._samples)
        self.model = str(file.attrs.get("model", ""))
        self.model_fingerprint = str(file.attrs.get("model_fingerprint", ""))
        self.model_type = str(file.attrs.get("model_type", ""))
        self.revision = str(file.attrs.get("revision", ""))
        self.dtype = str(file.attrs.get("dtype", ""))
        self.fingerprint = digest_file(path)
        self._norms: dict[str, dict[int, npt.NDArray[np.float64]]] = {arm: {} for arm in ARMS}
        """Sum and number of the norms of an arm's tokens by layer: found on the way, as the tokens are large."""

    def means(self, arm: str, layer: int) -> npt.NDArray[np.float32]:
        """See `reader.Activations.means`."""
        rows = []
        norms = np.zeros(2)
        for sample in self._samples:
            tokens_TD = self._tokens(sample, arm, layer)
            norms += np.linalg.norm(tokens_TD, axis=1).sum(), len(tokens_TD)
            rows.append(tokens_TD[0] if self._positions[arm] == DIVERGENCE else tokens_TD.mean(axis=0))
        self._norms[arm][layer] = norms
        if len({row.shape for row in rows}) > 1:
            raise RecordError(f"{self._path}: the samples have different widths at layer {layer}.")
        return np.stack(rows).astype(np.float32)

    def averaged(self, arm: str) -> Sequence[Averaged]:
        """See `reader.Activations.averaged`. The file holds no token ids."""
        answers = []
        for sample in self._samples:
            with file_errors(self._path):
                stored = self._file["activations"][f"sample_{sample}_{arm}"]
                length = int(stored[f"blocks.{self.layers[0]}.hook_resid_post"].shape[-2])
                skip = self._skip(sample, arm)
            stop = skip + 1 if self._positions[arm] == DIVERGENCE else length
            answers.append(Averaged(np.arange(skip, stop), None, length))
        return answers

    def fallbacks(self, arm: str) -> int:  # noqa: ARG002 - every answer has response tokens
        """See `reader.Activations.fallbacks`."""
        return 0

    def residual_norm(self, layer: int) -> float:
        """See `reader.Activations.residual_norm`."""
        for arm in ARMS:
            if layer not in self._norms[arm]:
                self.means(arm, layer)
        total, count = self._norms["chosen"][layer] + self._norms["rejected"][layer]
        return float(total / count)

    def _layers(self) -> tuple[int, ...]:
        wanted: set[int] | None = None
        for sample in self._samples:
            for arm in ARMS:
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

    def _tokens(self, sample: int, arm: str, layer: int) -> npt.NDArray[np.float64]:
        where = f"sample_{sample}_{arm}"
        with file_errors(self._path):
            stored = self._file["activations"][where][f"blocks.{layer}.hook_resid_post"][()]
            values: npt.NDArray[np.float64] = np.asarray(stored, dtype=np.float64)
            skip = self._skip(sample, arm)
        if values.ndim == 3 and values.shape[0] == 1:
            values = values[0]
        if values.ndim != 2:
            raise RecordError(f"{self._path}: /activations/{where}: shape {values.shape}, expected (tokens, width).")
        values = values[skip:]
        if len(values) == 0:
            raise RecordError(f"{self._path}: /activations/{where}: no tokens after the divergence.")
        return values

    def _skip(self, sample: int, arm: str) -> int:
        """Stored tokens before the divergence."""
        metadata = self._file.get("metadata")
        facts = metadata.get(f"sample_{sample}") if isinstance(metadata, h5py.Group) else None
        if facts is None:
            return 0
        divergence = next((int(facts.attrs[key]) for key in _DIVERGENCE_KEYS if key in facts.attrs), None)
        # Where the prompts differ, so may the places at which the answers begin; only our own files say so.
        start = facts.attrs.get(f"{arm}_response_start_idx", facts.attrs.get("response_start_idx"))
        if divergence is None or start is None:
            return 0
        return max(0, divergence - int(start))
