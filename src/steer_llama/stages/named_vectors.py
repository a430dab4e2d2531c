"""What the vectors of a command are called."""

from collections.abc import Sequence
from pathlib import Path

from steer_llama.errors import ConfigError
from steer_llama.vectors import SteeringVector


def files_of(given: Sequence[str]) -> list[tuple[str, Path]]:
    """Names (empty where none is given) and files, from ``FILE`` or ``NAME=FILE``."""
    files = []
    for text in given:
        name, sign, path = text.partition("=")
        if Path(text).exists() or not sign:
            name, path = "", text
        elif not (name and path):
            raise ConfigError(f"--vector {text!r}: expected FILE or NAME=FILE, e.g. emoji=out/vector.safetensors.")
        files.append((name, Path(path)))
    return files


def named(
    files: Sequence[tuple[str, Path]], vectors: Sequence[SteeringVector]
) -> dict[str, tuple[Path, SteeringVector]]:
    """Vectors by name: the given one, the trait, or the file's stem where another has that trait too.

    Raises:
        ConfigError: two have the same name.
    """
    traits = [name or vector.trait for (name, _), vector in zip(files, vectors, strict=True)]
    found: dict[str, tuple[Path, SteeringVector]] = {}
    for (given, path), trait, vector in zip(files, traits, vectors, strict=True):
        name = given or (trait if trait and traits.count(trait) == 1 else path.stem)
        if name in found:
            raise ConfigError(
                f"--vector: {found[name][0]} and {path} are both called {name!r}. Give them names: --vector NAME=FILE."
            )
        found[name] = (path, vector)
    return found
