"""What HDF5 and h5py make of bytes that are not what they should be, as an error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steer_llama.errors import FileError


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn what h5py raises while ``path`` is read into a `FileError`.

    Raises:
        FileError: it is no HDF5 file, or a damaged one, or something in it is missing or of another kind.
    """
    try:
        yield
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path}: not a file of activations, or a damaged one ({reason}). Extract again.") from error
