"""The card of a model with a vector baked in: what was added, where, how to undo it, and what speaks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from steer_llama.vectors.cards.escaping import code, plain
from steer_llama.vectors.cards.evidence import arms_lines, layer_lines, verdict_lines
from steer_llama.vectors.cards.front_matter import front_matter, hub_id
from steer_llama.vectors.vector import SteeringVector


@dataclass(frozen=True)
class BakedFacts:
    """What was done to the model."""

    base: str
    """What the user calls the model."""
    base_hub_id: str | None
    coefficients: Mapping[int, float]
    """What the direction was multiplied by, per layer."""
    rounding: Mapping[int, float]
    """Relative, per layer."""
    dtype: str
    """Of the biases."""
    module: str
    """Whose bias it is, e.g. ``mlp.down_proj``."""
    bias_is_new: bool
    """Whether the base model has no biases there."""
    checked: str = ""
    """What the comparison with a hook found; empty where none was made."""
    license: Mapping[str, str] = field(default_factory=dict)
    """Of the base model's card."""
    notes: Sequence[str] = ()


def baked_card(vector: SteeringVector, facts: BakedFacts) -> str:
    """A README.md with front matter."""
    trait, base = plain(vector.trait) or "(not told)", code(facts.base)
    front = {
        "base_model": facts.base_hub_id or hub_id(vector.model),
        **facts.license,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["steer-llama", "activation-steering", "steering-vector"],
    }
    lines = [
        f"# {base}, steered: {trait}",
        "",
        f"The weights of {base} with a steering vector baked in: a constant is added to the residual stream at every "
        "token, the prompt's included. Any engine that runs the base model's architecture steers by running this "
        "folder. Nothing was trained, and no other weight was changed. Made with steer-llama.",
        "",
        "## What was added",
        "",
        "| layer | strength | coefficient | length of what was added | rounded by |",
        "|---|---|---|---|---|",
        *(_row(vector, facts, layer) for layer in sorted(facts.coefficients)),
        "",
        "Layer L is the 0-based decoder block L, at its output. The strength is ‖added‖ over the mean norm of the "
        "residual stream there; the coefficient is what the vector was multiplied by.",
        "",
        f"- the vector: trait {trait}, fitted on {code(vector.model)} (estimator {code(vector.estimator)}, positions "
        f"{code(vector.positions)})",
        f"- where it lies: the bias of {code(facts.module)} in that block, in {facts.dtype}",
        *(f"- {plain(note)}" for note in facts.notes),
        f"- checked: {plain(facts.checked)}" if facts.checked else "- not checked against a hook on the base model",
        "",
        "## How to undo it",
        "",
        _undo(facts),
        "",
        "## Does it work?",
        "",
        *verdict_lines(vector),
        "",
    ]
    if _as_recommended(vector, facts):
        lines += [*arms_lines(vector), ""]
    else:
        lines += [
            "The layers or strengths here are not those that the vector recommends, so tests of it say little.",
            "",
        ]
    for layer in sorted(facts.coefficients):
        lines += [*layer_lines(vector, layer), ""]
    lines += ["The base model's licence and limits hold for this one too."]
    return f"{front_matter(front)}\n" + "\n".join(lines) + "\n"


def _row(vector: SteeringVector, facts: BakedFacts, layer: int) -> str:
    coefficient = facts.coefficients[layer]
    strength = _strength(vector, layer, coefficient)
    length = abs(coefficient) * _norm(vector, layer)
    told = "unknown" if strength is None else f"{strength:.3g}"
    return f"| {layer} | {told} | {coefficient:.6g} | {length:.4g} | {facts.rounding.get(layer, 0):.2%} |"


def _strength(vector: SteeringVector, layer: int, coefficient: float) -> float | None:
    if vector.residual_norm_L is None:
        return None
    return coefficient * _norm(vector, layer) / vector.residual_norm(layer)


def _norm(vector: SteeringVector, layer: int) -> float:
    direction_D = vector.direction_D(layer).astype(float)
    return float((direction_D @ direction_D) ** 0.5)


def _as_recommended(vector: SteeringVector, facts: BakedFacts) -> bool:
    wanted = vector.recommended_strength
    if wanted is None or list(facts.coefficients) != [vector.recommended_layer]:
        return False
    ((layer, coefficient),) = facts.coefficients.items()
    strength = _strength(vector, layer, coefficient)
    return strength is not None and abs(strength - wanted) <= 1e-3 * abs(wanted)


def _undo(facts: BakedFacts) -> str:
    layers = ", ".join(str(layer) for layer in sorted(facts.coefficients))
    if facts.bias_is_new:
        return (
            f"Use the base model, or set the biases of {code(facts.module)} in block {layers} to zero: the base model "
            "has none, and all the others here are zero."
        )
    return (
        f"Use the base model, or subtract the vector times its coefficient from the bias of {code(facts.module)} in "
        f"block {layers} (up to rounding)."
    )
