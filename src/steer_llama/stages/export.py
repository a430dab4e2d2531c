"""``export``: what was found, in the form that another tool takes.

``--to`` names what is made: a vector's file in any format, ``checkpoint``, the model with the vector baked in, or
``dpo``, the pairs for those who train instead.

Shapes: L layers, D width.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from steer_llama.config import ModelSettings
from steer_llama.errors import ConfigError
from steer_llama.files import check_not_over, check_output
from steer_llama.pairs import read_pairs, write_preferences
from steer_llama.progress import Reporter
from steer_llama.stages.bake import bake
from steer_llama.stages.convert import format_for, opened, write
from steer_llama.stages.size import Size
from steer_llama.vectors import FORMATS, SteeringVector

DPO = "dpo"
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Target:
    """The model that a vector is baked into."""

    model: ModelSettings
    any_model: bool = False
    """Accept other weights of the same shape than the vector was fitted on."""
    verify: bool = True
    """Compare the baked model's logits with a hook's."""


@dataclass(frozen=True)
class Wanted:
    """What of a vector is exported, and how large."""

    layers: tuple[int, ...] = ()
    """Empty: all that it has."""
    strength: float | None = None
    coefficient: float | None = None
    """At most one of the two; neither leaves the directions as they are."""


def export(
    given: Path,
    to: str,
    out: Path,
    reporter: Reporter,
    wanted: Wanted | None = None,
    *,
    given_format: str = "",
    model_type: str = "",
    target: Target | None = None,
) -> None:
    """Write ``given`` in the form that ``to`` names.

    Args:
        given: a vector of any format; for ``dpo`` a file of pairs.
        to: a format of vectors, ``checkpoint`` or ``dpo``.
        out: the file to write; for ``checkpoint`` a folder.
        reporter: where to tell.
        wanted: which layers, and how large; only for vectors.
        given_format: the vector's format, where the file does not tell it.
        model_type: the model's architecture, as transformers calls it, where the file does not tell it.
        target: for ``checkpoint``, the model.

    Raises:
        ConfigError: an unknown ``to``, or what has no meaning with it.
        ModelError: the model cannot be baked.
        FileError: the file is missing, damaged, or of another kind.
        LayerError: the vector has no such layer.
        VectorError: a strength without residual norms, or what the format cannot hold.
        StorageError: the place cannot be written, or is what is read.
    """
    asked = wanted or Wanted()
    if to not in (*FORMATS, CHECKPOINT, DPO):
        raise ConfigError(f"--to {to}: unknown. There are: {', '.join((*FORMATS, CHECKPOINT, DPO))}.")
    if (to == CHECKPOINT) != (target is not None):
        raise ConfigError(
            "--to checkpoint needs --model, the model that the vector is baked into."
            if target is None
            else f"--to {to} writes no model: leave --model out."
        )
    if target is not None:
        if model_type:
            raise ConfigError("--to checkpoint asks the model itself for its architecture: leave --model-type out.")
        bake(
            opened(given, given_format, reporter),
            target.model,
            out,
            reporter,
            layers=asked.layers,
            strength=asked.strength,
            coefficient=asked.coefficient,
            any_model=target.any_model,
            verify=target.verify,
        )
        return
    check_output(out)
    check_not_over(out, given)
    if to == DPO:
        if asked != Wanted() or given_format or model_type:
            raise ConfigError("--to dpo writes pairs, which have no layers, strength or format: leave those flags out.")
        export_pairs(given, out, reporter)
        return
    name = format_for(out, to)
    vector = opened(given, given_format, reporter)
    if model_type:
        vector = replace(vector, model_type=model_type)
    write(chosen(vector, asked, reporter), out, name, reporter)


def export_pairs(given: Path, out: Path, reporter: Reporter) -> None:
    """Write pairs (``filtered.json``, or DPO rows) as a preference dataset of TRL.

    Raises:
        FileError: no pairs, or none that can be used.
        StorageError: the place cannot be written.
    """
    read = read_pairs(given)
    for name, reason in read.left_out:
        reporter.note(f"left out {name!r}: {reason}")
    write_preferences(out, read.pairs)
    reporter.note(f"wrote {out}: {len(read.pairs)} pairs, chosen with the style and rejected without")


def chosen(vector: SteeringVector, wanted: Wanted, reporter: Reporter) -> SteeringVector:
    """The layers that are wanted, multiplied out so that the other tool adds them as they are.

    Raises:
        ConfigError: both a strength and a coefficient, or one that is no number.
        LayerError: the vector has no such layer.
        VectorError: a strength without residual norms, or of a direction that is zero.
    """
    size = Size(wanted.strength, wanted.coefficient).not_zero()
    kept = with_layers(vector, wanted.layers, reporter) if wanted.layers else vector
    if not size.given:
        return kept
    factors = [size.coefficient_at(kept, layer) for layer in kept.layers]
    if len(kept.layers) > 1:
        best = "" if kept.recommended_layer is None else f" (the sweep's best is {kept.recommended_layer})"
        reporter.note(
            f"each of {len(kept.layers)} layers gets that size: adding at all of them at once multiplies the effect, "
            f"so a size that was found at one layer is too large. Keep one with --layer{best}, or load one."
        )
    strength = kept.recommended_strength
    with np.errstate(over="ignore"):  # infinity is refused by the vector
        multiplied = (kept.directions_LD.astype(np.float64) * np.array(factors)[:, None]).astype(np.float32)
    return replace(
        kept,
        directions_LD=multiplied,
        recommended_strength=-strength if strength is not None and factors[0] < 0 else strength,
        evidence=kept.evidence | {"multiplied_by": dict(zip(map(str, kept.layers), factors, strict=True))},
    )


def with_layers(vector: SteeringVector, layers: tuple[int, ...], reporter: Reporter) -> SteeringVector:
    """Only these layers of a vector.

    Raises:
        LayerError: it has no such layer.
    """
    layers = tuple(dict.fromkeys(layers))
    rows = np.stack([vector.direction_D(layer) for layer in layers])
    norms = vector.residual_norm_L
    recommended = vector.recommended_layer
    if recommended is not None and recommended not in layers:
        reporter.note(f"the recommended layer, {recommended}, is left out, and the recommendation with it.")
    return replace(
        vector,
        directions_LD=rows,
        layers=layers,
        residual_norm_L=None if norms is None else norms[[vector.layers.index(layer) for layer in layers]],
        recommended_layer=recommended if recommended in layers else None,
        recommended_strength=vector.recommended_strength if recommended in (None, *layers) else None,
    )
