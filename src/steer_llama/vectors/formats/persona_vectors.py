"""Anthropic's persona vectors (safety-research/persona_vectors, arXiv 2507.21509): one tensor (layers + 1, width).

Its rows are differences of transformers' ``hidden_states``: row 0 is the embeddings, row k the output of block k - 1.
"""

import re
from pathlib import Path

from steer_llama.errors import FileError, VectorError
from steer_llama.vectors.formats.bare import bare_vector, left_out
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.layer_table import filled, is_table, listed, table_of, would_be, zero_rows
from steer_llama.vectors.formats.torch_files import peek, read_torch, write_torch
from steer_llama.vectors.vector import SteeringVector

_NAME = re.compile(r".+_(prompt_avg|response_avg|prompt_last)_diff\.pt")


def _recognises(path: Path) -> bool:
    file = peek(path)
    if file is None or not is_table(file.value):
        return False
    if _NAME.fullmatch(path.name):
        return True
    try:
        table_ND = table_of(file)
    except FileError:
        return False
    # +0.0 only: an `assistant-axis` file of ours has -0.0 where it lacks layer 0.
    return len(table_ND) > 1 and not any(table_ND[0].tobytes()) and zero_rows(table_ND) == [0]


def _read(path: Path) -> Reading:
    file = read_torch(path)
    table_ND = table_of(file)
    zero = zero_rows(table_ND)
    rows = {row - 1: table_ND[row] for row in range(1, len(table_ND)) if row not in zero}
    if not rows:
        raise VectorError(f"{path}: all rows after row 0 are zero, or there are none, so no layer has a direction.")
    notes = [*file.notes]
    if 0 not in zero:
        notes.append("Row 0, the difference of the embeddings, belongs to no layer and is left out.")
    elif not _NAME.fullmatch(path.name):
        notes.append("Row 0 is zero and taken for the embeddings; if it is layer 0, the file is assistant-axis.")
    if missing := [row - 1 for row in zero if row]:
        notes.append(f"The rows of layers {listed(missing)} are zero and are left out.")
    if len(table_ND) - 2 in rows:
        notes.append(
            f"The last row, layer {len(table_ND) - 2}, is usually taken after the model's final norm in files that the "
            "persona_vectors code wrote; then it is no direction of the residual stream."
        )
    return Reading(bare_vector(path, rows), FORMAT.name, tuple(notes))


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    table_ND, notes = filled(vector, first=1, filling=0.0)
    write_torch(path, table_ND)
    if not _recognises(path):
        notes = (*notes, "The file does not tell its format: name persona-vectors to read it.")
    return (*notes, *left_out(vector))


FORMAT = VectorFormat(
    name="persona-vectors",
    title="Anthropic's persona vectors (.pt)",
    suffix=".pt",
    layer_convention="row 0 is the embeddings; row k is the output of block k - 1, layer k - 1",
    recognises=_recognises,
    read=_read,
    write=_write,
    may_be=would_be(lambda rows, width: f"{rows - 1} layers of width {width} (row k is layer k - 1, row 0 none)"),
)
