"""What steer-llama brings along: traits, their elicitations, the demo's configuration, and models' shapes."""

from importlib import resources
from pathlib import Path

from steer_llama.errors import ConfigError


def packaged_traits() -> list[str]:
    """Names of the packaged traits."""
    return sorted(path.stem for path in _folder("traits").glob("*.json"))


def trait_path(name: str) -> Path:
    """The packaged trait's JSON.

    Raises:
        ConfigError: there is no packaged trait of that name.
    """
    return _named("traits", name, "trait")


def elicitation_path(name: str) -> Path:
    """The packaged elicitation of a trait.

    Raises:
        ConfigError: there is none.
    """
    return _named("elicitations", name, "elicitation")


def packaged_models() -> list[str]:
    """Names of the models whose config.json is packaged (the architecture's fields; no weights)."""
    return sorted(path.stem for path in _folder("models").glob("*.json"))


def model_config_path(name: str) -> Path | None:
    """The packaged config.json of a model; ``None`` where there is none of that name."""
    return _folder("models") / f"{name}.json" if name in packaged_models() else None


def side_effects_path(name: str) -> Path:
    """What is read and asked to find side effects: the set called ``name``, e.g. ``facts``."""
    return _folder("side_effects") / f"{name}.json"


def demo_config() -> str:
    """The demo's configuration, as YAML."""
    return (_folder(".") / "demo.yaml").read_text(encoding="utf-8")


def _named(folder: str, name: str, what: str) -> Path:
    path = _folder(folder) / f"{name}.json"
    if not path.exists():
        known = ", ".join(packaged_traits())
        raise ConfigError(f"no packaged {what} {name!r}. There are: {known}. Or give the path of a JSON file.")
    return path


def _folder(name: str) -> Path:
    return Path(str(resources.files(__package__))) / name
