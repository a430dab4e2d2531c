"""Reading a configuration, and explaining what is wrong with one."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from steer_llama.config.sections import Config
from steer_llama.errors import ConfigError
from steer_llama.files import read_text


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
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected sections (source, target, model …), found a {type(raw).__name__}.")
    if base is not None:
        _anchor(raw, base)
    for override in overrides:
        _apply(raw, override)
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, Config)}") from error


def _anchor(raw: dict[str, Any], base: Path) -> None:
    """Make the paths of a configuration file relative to that file."""
    arms = [arm for arm in (raw.get("source"), raw.get("target")) if isinstance(arm, dict)]
    paths = [(raw, "elicitation"), *((arm, "file") for arm in arms)]
    # These may be names as well (of a packaged trait, on a hub): only what is plainly a path is taken for one.
    local = [arm for arm in arms if arm.get("kind") == "local"]
    perhaps = [(raw, "trait"), (raw.get("model"), "path"), *((arm, "model") for arm in local)]
    paths += [(section, key) for section, key in perhaps if isinstance(section, dict) and _is_path(section.get(key))]
    for section, key in paths:
        if isinstance(section.get(key), str):
            section[key] = str(base / section[key])


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(("./", "../")) or value.endswith(".json"))


def _apply(raw: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected section.key=value, e.g. fit.positions=emoji.")
    section = raw
    for key in keys[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override}: {key!r} is a value, not a section.")
    try:
        section[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {' '.join(str(error).split())}") from error


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
