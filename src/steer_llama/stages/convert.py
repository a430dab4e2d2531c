"""``convert``: a vector from one tool's file to another's."""

from dataclasses import replace
from pathlib import Path

from steer_llama.errors import AmbiguousFormatError, ConfigError, FileError
from steer_llama.files import check_not_over, check_output
from steer_llama.progress import Reporter
from steer_llama.stages.vector_files import read_any
from steer_llama.vectors import FORMATS, SteeringVector, save_vector

_OF_AN_ENDING = {".safetensors": "steer-llama", ".gguf": "gguf"}
"""Where several formats share an ending: the one that is meant without a name."""


def convert(
    given: Path, out: Path, reporter: Reporter, *, given_format: str = "", out_format: str = "", model_type: str = ""
) -> None:
    """Read a vector of any format and write it in another; what the new file cannot hold is told.

    Args:
        given: the file.
        out: the file to write.
        reporter: where to tell.
        given_format: its format, where the file does not tell it.
        out_format: the format to write; default: by the ending of ``out``.
        model_type: the model's architecture, as transformers calls it, where the file does not tell it.

    Raises:
        ConfigError: a format that there is not, or an ending that several formats share.
        FileError: the file is missing, damaged, or does not tell its format.
        VectorError: its content is no vector, or one that the new format cannot hold.
        StorageError: the place cannot be written, or is what is read.
    """
    name = format_for(out, out_format)
    check_output(out)
    check_not_over(out, given)
    vector = opened(given, given_format, reporter)
    if model_type:
        vector = replace(vector, model_type=model_type)
    write(vector, out, name, reporter)


def opened(given: Path, given_format: str, reporter: Reporter) -> SteeringVector:
    """A vector of any format, with what its reader noticed told."""
    try:
        reading = read_any(given, given_format or None)
    except AmbiguousFormatError as error:
        raise FileError(f"{error} Here: {' or '.join(f'--from {name}' for name in error.candidates)}.") from error
    vector = reading.vector
    reporter.note(f"{given}: {reading.format}, {_layers(vector)}, {vector.width} wide")
    for note in reading.notes:
        reporter.note(f"reading {reading.format}: {note}")
    return vector


def write(vector: SteeringVector, out: Path, name: str, reporter: Reporter) -> None:
    """Write a vector, with what the format cannot hold told."""
    for note in save_vector(out, vector, name):
        reporter.note(f"writing {name}: {note}")
    reporter.note(f"wrote {out} ({name})")


def format_for(out: Path, name: str) -> str:
    """The format to write: the one that is named, or the one that the ending means.

    Raises:
        ConfigError: there is no format of that name, or the ending does not tell it.
    """
    if name:
        if name not in FORMATS:
            raise ConfigError(f"format {name!r}: unknown. There are: {', '.join(FORMATS)}.")
        return name
    meant = [form.name for form in FORMATS.values() if form.suffix == out.suffix]
    if (usual := _OF_AN_ENDING.get(out.suffix)) in meant:
        return str(usual)
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError(f"{out}: {' and '.join(meant)} files end in {out.suffix}; say which with --to.")
    ending = f"no format's files end in {out.suffix!r}" if out.suffix else "the name has no ending"
    raise ConfigError(f"{out}: {ending}; name the format with --to. There are: {', '.join(FORMATS)}.")


def _layers(vector: SteeringVector) -> str:
    n_layers = len(vector.layers)
    if n_layers == 1:
        return f"layer {vector.layers[0]}"
    return f"{n_layers} layers from {min(vector.layers)} to {max(vector.layers)}"
