"""Reading a steer from its text."""

import math
import re

from pydantic import ValidationError

from steer_llama.config import explain
from steer_llama.errors import ConfigError
from steer_llama.records import GateOn, Steer

_STEER = re.compile(r"(?P<name>[^@:=\s]+)(?:@(?P<layers>[^:]*))?(?::(?P<rest>.*))?", re.DOTALL)
_GATE = re.compile(r"(?P<name>[^@:<>=\s]+)(?:@(?P<layer>\d+))?(?P<sign>>=|<)(?P<threshold>.+)")
_BAND = re.compile(r"(\d+)-(\d+)")
_NUMBERS = ("coefficient", "low", "high", "half_life")
_WORDS = ("mode", "where")
_EXAMPLE = "NAME@LAYERS:STRENGTH, e.g. emoji@12:0.4, emoji@10-14:0.2:where=response or emoji@12:mode=project_out"


def parse_steer(text: str) -> Steer:
    """A steer from its text: ``NAME@LAYERS:STRENGTH`` and options, all but the name optional.

    Layers are ``12``, ``8,12`` or a band ``10-14``. The options, each after a colon, are ``mode=`` (add, keep_norm,
    project_out, clamp), ``where=`` (all, prompt, response, divergence), ``coefficient=``, ``low=``, ``high=``,
    ``half_life=`` and ``gate=NAME@LAYER>=THRESHOLD`` (or ``<``).

    Raises:
        ConfigError: it is none.
    """
    found = _STEER.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"--steer {text!r}: expected {_EXAMPLE}.")
    values: dict[str, object] = {"name": found["name"]}
    if found["layers"] is not None:
        values["layers"] = _layers(found["layers"], text)
    for part in (found["rest"] or "").split(":") if found["rest"] is not None else ():
        key, sign, value = part.partition("=")
        if key == "gate" or part.startswith("gate="):
            values["gate"] = _gate(part.removeprefix("gate="), text)
        elif not sign:
            values["strength"] = _number(part, text)
        elif key in _NUMBERS:
            values[key] = _number(value, text)
        elif key in _WORDS:
            values[key] = value.replace("-", "_")
        else:
            known = ", ".join((*_WORDS, *_NUMBERS, "gate"))
            raise ConfigError(f"--steer {text!r}: no option {key!r}. There are: {known}.")
    try:
        return Steer.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"--steer {text!r}: {explain(error, Steer)}") from None


def _layers(text: str, whole: str) -> tuple[int, ...]:
    layers: list[int] = []
    for part in text.split(","):
        if band := _BAND.fullmatch(part):
            layers += range(int(band[1]), int(band[2]) + 1)
        elif part.isdecimal():
            layers.append(int(part))
        else:
            layers.clear()
            break
    if not layers or len(set(layers)) != len(layers):
        raise ConfigError(f"--steer {whole!r}: layers {text!r}; expected e.g. 12, 8,12 or 10-14, each layer once.")
    return tuple(layers)


def _gate(text: str, whole: str) -> GateOn:
    found = _GATE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--steer {whole!r}: gate {text!r}; expected NAME@LAYER>=THRESHOLD, e.g. gate=emoji@8>=0.05.")
    return GateOn(
        name=found["name"],
        layer=None if found["layer"] is None else int(found["layer"]),
        threshold=_number(found["threshold"], whole),
        above=found["sign"] == ">=",
    )


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"--steer {whole!r}: {text!r} is no finite number. Expected {_EXAMPLE}.")
    return value
