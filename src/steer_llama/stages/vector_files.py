"""Vectors in files of any format; a file that is something else is named."""

from pathlib import Path

from steer_llama.errors import AmbiguousFormatError, ConfigError, FileError
from steer_llama.vectors import FORMATS, Reading, open_vector

_OTHER_KINDS = {
    b"\x89HDF\r\n\x1a\n": "it looks like HDF5, as activations are: `steer-llama fit` makes a vector of them",
    b"%PDF": "it looks like a PDF",
    b"\x89PNG": "it looks like a picture",
}
"""What no vector's file begins with."""
_GGUF = b"GGUF"


def read_any(path: Path, form: str | None = None) -> Reading:
    """A vector from a file of any format.

    Raises:
        FileError: missing, damaged, or no vector.
        AmbiguousFormatError: it could be of several formats, and does not tell which.
        ConfigError: there is no format of that name.
        VectorError: its content is no vector.
    """
    if path.is_dir():
        raise FileError(f"{path}: is a folder (expected a vector's file). A model's folder is given to --model.")
    beginning = _beginning(path)
    if kind := next((kind for mark, kind in _OTHER_KINDS.items() if beginning.startswith(mark)), None):
        raise FileError(f"{path}: no vector's file; {kind}.")
    if path.is_file() and not beginning:
        raise FileError(f"{path}: is empty (expected a vector).")
    try:
        return open_vector(path, form)
    except AmbiguousFormatError:
        raise
    except FileError as error:
        if beginning.startswith(_GGUF):
            raise FileError(f"{error} If it is a model's GGUF, give it to --model.") from error
        raise


def check_ours(out: Path) -> None:
    """Refuse a name that says another format than ours, which is what is written.

    Raises:
        ConfigError: it ends as another tool's files do.
    """
    ours = FORMATS["steer-llama"].suffix
    if out.suffix != ours and out.suffix in {form.suffix for form in FORMATS.values()}:
        raise ConfigError(
            f"{out}: what is written is {ours}, steer-llama's own format. Name it so, and write another with "
            f"`steer-llama convert {out.with_suffix(ours)} {out}`."
        )


def _beginning(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from error
