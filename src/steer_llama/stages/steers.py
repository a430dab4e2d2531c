"""From a user's words for steering to what is added to the residual stream.

Shapes: D width.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import torch

from steer_llama.errors import ConfigError
from steer_llama.lm.steering import ALL, DIVERGENCE, PROMPT, RESPONSE, Gate, Steering
from steer_llama.records import GateOn, Steer
from steer_llama.stages.size import Size, or_recommended
from steer_llama.stages.steer_text import parse_steer
from steer_llama.vectors import SteeringVector

SPANS = {"all": ALL, "prompt": PROMPT, "response": RESPONSE, "divergence": DIVERGENCE}


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
