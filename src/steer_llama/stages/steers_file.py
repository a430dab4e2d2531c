"""Reading the combination that ``tune`` found."""

from pathlib import Path

from pydantic import ValidationError

from steer_llama.config import explain
from steer_llama.errors import ConfigError, FileError
from steer_llama.files import digest_file, read_json
from steer_llama.records import Steer
from steer_llama.records.tuned import Tuned


def read_steers(path: Path) -> tuple[dict[str, Path], tuple[Steer, ...]]:
    """The vectors' files by name, and how each is used.

    Raises:
        FileError: missing, no such file, or a vector's file is not what it was.
        ConfigError: the combination is empty: nothing was found that is better than not to steer.
    """
    try:
        tuned = Tuned.model_validate(read_json(path, "several vectors' strengths, as `steer-llama tune` writes them"))
    except ValidationError as error:
        raise FileError(f"{path}: no strengths of several vectors: {explain(error, Tuned)}") from error
    if not tuned.steers:
        raise ConfigError(f"{path}: holds no vector: nothing that was tried is better than not to steer.")
    files = {steer.name: path.parent / steer.path for steer in tuned.steers}
    for steer in tuned.steers:
        if not files[steer.name].is_file():
            raise FileError(f"{path}: the vector {steer.name} is not at {files[steer.name]}. Put it there again.")
        if digest_file(files[steer.name]) != steer.digest:
            raise FileError(f"{files[steer.name]}: has changed since {path} was made. Run `steer-llama tune` again.")
    return files, tuple(
        Steer(name=steer.name, layers=(steer.layer,), strength=steer.strength) for steer in tuned.steers
    )
