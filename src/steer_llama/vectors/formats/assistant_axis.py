"""The assistant axis (safety-research/assistant-axis, arXiv 2601.10387): one tensor (layers, width).

Row i is the output of block i, which their code reads and steers with hooks. hidden-directions and hotwire keep their
directions so too. Their pipeline's own file is a dict that has the tensor under ``axis``.
"""

from pathlib import Path
from typing import Any

from steer_llama.errors import VectorError
from steer_llama.vectors.formats.bare import bare_vector, left_out
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.layer_table import filled, is_table, listed, table_of, would_be, zero_rows
from steer_llama.vectors.formats.torch_files import peek, read_torch, write_torch
from steer_llama.vectors.vector import SteeringVector

_PIPELINE_KEYS = {"axis", "default_mean", "role_mean"}


def _recognises(path: Path) -> bool:
    file = peek(path)
    return file is not None and _is_pipelines(file.value) and is_table(file.value["axis"])


def _is_pipelines(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= _PIPELINE_KEYS


def _read(path: Path) -> Reading:
    file, notes = read_torch(path), []
    if _is_pipelines(file.value):
        notes.append(f"Of the file's {len(file.value)} keys only axis is read.")
        file.value = file.value["axis"]
    table_ND = table_of(file)
    zero = zero_rows(table_ND)
    rows = {row: table_ND[row] for row in range(len(table_ND)) if row not in zero}
    if not rows:
        raise VectorError(f"{path}: all rows are zero, so no layer has a direction.")
    if zero:
        notes.append(f"The rows of layers {listed(zero)} are zero and are left out.")
    return Reading(bare_vector(path, rows), FORMAT.name, (*file.notes, *notes))


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    # -0.0 is zero to everybody, and keeps `persona-vectors` from claiming a file whose row 0 is empty.
    table_ND, notes = filled(vector, first=0, filling=-0.0)
    write_torch(path, table_ND)
    return (*notes, "The file does not tell its format: name assistant-axis to read it.", *left_out(vector))


FORMAT = VectorFormat(
    name="assistant-axis",
    title="assistant axis, hidden-directions, hotwire (.pt)",
    suffix=".pt",
    layer_convention="row i is layer i",
    recognises=_recognises,
    read=_read,
    write=_write,
    may_be=would_be(lambda rows, width: f"{rows} layers of width {width} (row i is layer i)"),
)
