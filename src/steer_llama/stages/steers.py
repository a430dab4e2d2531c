"""From a user's words for steering to what is added to the residual stream.

Shapes: D width.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from steer_llama.config import explain
from steer_llama.errors import ConfigError
from steer_llama.lm.steering import ALL, DIVERGENCE, PROMPT, RESPONSE, Gate, Steering
from steer_llama.records import GateOn, Steer
from steer_llama.stages.size import Size, or_recommended
from steer_llama.vectors import SteeringVector

SPANS = {"all": ALL, "prompt": PROMPT, "response": RESPONSE, "divergence": DIVERGENCE}

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
        value = np.nan
    if not np.isfinite(value):
        raise ConfigError(f"--steer {whole!r}: {text!r} is no finite number. Expected {_EXAMPLE}.")
    return value


def named_vectors(given: Sequence[str]) -> dict[str, Path]:
    """Vectors' files by name, from ``NAME=FILE`` or ``FILE``, whose name is then the file's without its ending.

    Raises:
        ConfigError: a part is missing, or a name stands twice.
    """
    files: dict[str, Path] = {}
    for text in given:
        name, sign, path = text.partition("=")
        if not sign or Path(text).is_file():
            name, path = Path(text).stem, text
        if not (name and path) or re.search(r"[@:\s]", name):
            raise ConfigError(f"--vector {text!r}: expected NAME=FILE, e.g. emoji=out/vector.safetensors.")
        if name in files:
            raise ConfigError(f"two vectors are named {name!r} ({files[name]} and {path}); name them: NAME=FILE.")
        files[name] = Path(path)
    return files


def steers_from_flags(texts: Sequence[str], names: Sequence[str], layer: int | None, size: Size) -> tuple[Steer, ...]:
    """What ``--steer`` says; without it, every vector as it recommends, or the only one as the other flags say.

    Raises:
        ConfigError: a text is no steer, or flags that are for one vector without ``--steer``.
    """
    if texts:
        if layer is not None or size.given:
            raise ConfigError("--layer, --strength and --coefficient are for one vector without --steer; say it there.")
        return tuple(map(parse_steer, texts))
    if len(names) != 1 and (layer is not None or size.given):
        raise ConfigError("--layer, --strength and --coefficient are for one vector; say --steer NAME@LAYER:STRENGTH.")
    layers = () if layer is None else (layer,)
    return tuple(
        Steer(name=name, layers=layers, strength=size.strength, coefficient=size.coefficient) for name in names
    )


def check_named(steers: Sequence[Steer], names: Collection[str]) -> None:
    """Make sure that every vector that was given is used.

    Raises:
        ConfigError: one is not.
    """
    used = {steer.name for steer in steers} | {steer.gate.name for steer in steers if steer.gate}
    if unused := sorted(set(names) - used):
        raise ConfigError(f"no --steer names the vector {', '.join(unused)}: name it, or leave it out.")


def resolved(steers: Sequence[Steer], vectors: Mapping[str, SteeringVector]) -> tuple[Steer, ...]:
    """The steers with the vectors' recommendations in place of what is not said.

    Raises:
        ConfigError: a vector that is not among ``vectors``, or something is neither said nor recommended.
        LayerError: a vector has no such layer.
    """
    full = []
    for given in steers:
        vector = _vector(given.name, vectors)
        steer = _as_recommended(given, vector)
        if steer.mode in ("project_out", "clamp"):
            layers, _ = or_recommended(vector, steer.layers, Size(0.0))
            full.append(steer.model_copy(update={"layers": layers}))
        else:
            layers, size = or_recommended(vector, steer.layers, Size(steer.strength, steer.coefficient))
            update = {"layers": layers, "strength": size.strength, "coefficient": size.coefficient}
            full.append(steer.model_copy(update=update))
    return tuple(full)


def _as_recommended(steer: Steer, vector: SteeringVector) -> Steer:
    """In the way that was found best, where nothing but the vector's name is said."""
    if steer != Steer(name=steer.name) or vector.recommended_strength is None:
        return steer
    way: dict[str, object] = {"name": steer.name, **vector.recommended_way}
    if way.get("mode") == "clamp":
        way["low" if vector.recommended_strength > 0 else "high"] = vector.recommended_strength
    return Steer.model_validate(way)


def steerings(steers: Sequence[Steer], vectors: Mapping[str, SteeringVector]) -> tuple[Steering, ...]:
    """What is done to the residual stream, layer by layer; steers without layers or size go by the recommendation.

    Raises:
        ConfigError: as `resolved`.
        LayerError: a vector has no such layer.
        VectorError: a strength, and a vector does not say how large the residual stream is.
    """
    return tuple(each for steer in resolved(steers, vectors) for each in _of_layers(steer, vectors))


def _of_layers(steer: Steer, vectors: Mapping[str, SteeringVector]) -> Iterator[Steering]:
    vector = _vector(steer.name, vectors)
    for layer in steer.layers:
        direction_D = vector.direction_D(layer).astype(np.float64)
        if steer.mode in ("add", "keep_norm"):
            direction_D = direction_D * Size(steer.strength, steer.coefficient).coefficient_at(vector, layer)
        yield Steering(
            layer,
            torch.from_numpy(direction_D.astype(np.float32)),
            mode=steer.mode,
            span=SPANS[steer.where],
            low=None if steer.low is None else steer.low * vector.residual_norm(layer),
            high=None if steer.high is None else steer.high * vector.residual_norm(layer),
            gate=None if steer.gate is None else _gated(steer.gate, layer, vectors),
            half_life=steer.half_life,
        )


def _gated(gate: GateOn, layer: int, vectors: Mapping[str, SteeringVector]) -> Gate:
    vector, at = _vector(gate.name, vectors), layer if gate.layer is None else gate.layer
    return Gate(
        torch.from_numpy(vector.direction_D(at).copy()),
        gate.threshold * vector.residual_norm(at),
        above=gate.above,
        layer=at,
    )


def _vector(name: str, vectors: Mapping[str, SteeringVector]) -> SteeringVector:
    if name not in vectors:
        known = ", ".join(vectors) or "none"
        raise ConfigError(f"there is no vector {name!r}; given with --vector: {known}. Say --vector {name}=FILE.")
    return vectors[name]
