"""What `generate` and `sweep` share: a vector's file of any format, for use on a model."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steer_llama.progress import Reporter
    from steer_llama.vectors import SteeringVector


def opened_for_use(path: Path, reporter: "Reporter") -> "SteeringVector":
    """Read a vector, and say what its reader noticed and what cannot be checked.

    Raises:
        FileError: missing, damaged, or of no format that tells itself.
        VectorError: its content is no vector.
    """
    from steer_llama.errors import AmbiguousFormatError, FileError
    from steer_llama.stages.vector_files import read_any

    try:
        reading = read_any(path)
    except AmbiguousFormatError as error:
        choice = " or ".join(error.candidates)
        raise FileError(
            f"{error} Write it as ours first: steer-llama convert {path} vector.safetensors --from FORMAT ({choice})."
        ) from error
    for note in reading.notes:
        reporter.note(f"{path.name}: {note}")
    if not reading.vector.model_fingerprint:
        reporter.note(
            f"{path.name} ({reading.format}) does not say which weights it is for: only its width and its layers "
            "can be compared with the model's."
        )
    return reading.vector
