"""Reading a configuration, and explaining what is wrong with one."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from steer_llama.config.extraction import ExtractionConfig
from steer_llama.config.sections import Config
from steer_llama.errors import ConfigError
from steer_llama.files import read_text

_C = TypeVar("_C", bound=BaseModel)


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a configuration; ``overrides`` are ``section.key=value`` with YAML values.

    Relative paths in the file stand relative to the file.

    Raises:
        FileError: the file is missing or empty.
        ConfigError: it is not YAML, or a key or value is wrong (named, with what was expected).
    """
    return parse_config(read_text(path, "a configuration (YAML)"), str(path), overrides, path.parent)


def parse_config(text: str, where: str, overrides: tuple[str, ...] = (), base: Path | None = None) -> Config:
    """Read a configuration from ``text``; ``where`` names it in errors. See `load_config`."""
    raw = _sections(text, where, "source, target, model …")
    if base is not None:
        _anchor(raw, base)
    for override in overrides:
        _apply(raw, override)
    return _checked(raw, where, Config)


def load_extraction(
    path: Path | None, overrides: tuple[str, ...] = (), flags: Mapping[str, Any] | None = None
) -> ExtractionConfig:
    """Read the configuration of an extraction; see `load_config`.

    Args:
        path: the file, if there is one.
        overrides: ``section.key=value``, before the file.
        flags: values by ``section.key``, before both. Paths in them and in ``overrides`` stand relative to the
            working directory.

    Raises:
        FileError: the file is missing or empty.
        ConfigError: it is not YAML, or a key or value is wrong (named, with what was expected).
    """
    raw: dict[str, Any] = {}
    if path is not None:
        text = read_text(path, "a configuration (YAML)")
        raw = _sections(text, str(path), "model, dataset, output, processing, extract")
        _anchor_extraction(raw, path.parent)
    for override in overrides:
        _apply(raw, override)
    for name, value in (flags or {}).items():
        _put(raw, name.split("."), value, f"--{name.rpartition('.')[2].replace('_', '-')}")
    return _checked(raw, str(path) if path is not None else "extract", ExtractionConfig)


def _sections(text: str, where: str, expected: str) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected sections ({expected}), found a {type(raw).__name__}.")
    return raw


def _checked(raw: dict[str, Any], where: str, model: type[_C]) -> _C:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, model)}") from error


def _anchor(raw: dict[str, Any], base: Path) -> None:
    """Make the paths of a configuration file relative to that file."""
    arms = [arm for arm in (raw.get("source"), raw.get("target")) if isinstance(arm, dict)]
    # These may be names as well (of a packaged trait, on a hub): only what is plainly a path is taken for one.
    local = [arm for arm in arms if arm.get("kind") == "local"]
    perhaps = [(raw, "trait"), (raw.get("model"), "path"), *((arm, "model") for arm in local)]
    _move([(raw, "elicitation"), *((arm, "file") for arm in arms)], base, lambda _: True)
    _move(perhaps, base, _is_path)
    fit = raw.get("fit")
    if isinstance(fit, dict) and isinstance(others := fit.get("orthogonal_to"), list):
        fit["orthogonal_to"] = [str(base / other) if isinstance(other, str) else other for other in others]


def _anchor_extraction(raw: dict[str, Any], base: Path) -> None:
    """The same for the configuration of an extraction."""
    _move([(raw.get("dataset"), "path"), (raw.get("output"), "file")], base, lambda _: True)
    _move([(raw.get("model"), "path")], base, _is_path)


def _move(places: list[tuple[Any, str]], base: Path, is_path: Callable[[str], bool]) -> None:
    for section, key in places:
        if isinstance(section, dict) and isinstance(value := section.get(key), str) and is_path(value):
            section[key] = str(base / value)


def _is_path(value: str) -> bool:
    return value.startswith(("./", "../")) or value.endswith(".json")


def _apply(raw: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected section.key=value, e.g. fit.positions=emoji.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {' '.join(str(error).split())}") from error
    _put(raw, keys, parsed, f"--set {override}")


def _put(raw: dict[str, Any], keys: list[str], value: Any, what: str) -> None:
    section = raw
    for key in keys[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise ConfigError(f"{what}: {key!r} is a value, not a section.")
    section[keys[-1]] = value


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A validation error in a sentence or more: which key, what was found, what was expected."""
    parts: list[str] = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "the whole"
        if problem["type"] == "extra_forbidden":
            known = _keys_at(model, problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known here: {', '.join(known)}."
            parts.append(f"unknown key {where!r}.{hint}")
        elif problem["type"] == "missing":
            parts.append(f"the key {where!r} is missing.")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            found = problem["input"]
            shown = "" if isinstance(found, dict | list) else f" (found {found!r})"
            parts.append(f"{where}: {message[:1].lower()}{message[1:]}{shown}.")
    return " ".join(parts)


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)
