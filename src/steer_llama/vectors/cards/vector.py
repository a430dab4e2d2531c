"""The card of a vector: what it is, how to use it, and what speaks for and against it."""

import json
import shlex

import numpy as np

from steer_llama.vectors.cards.escaping import code, plain
from steer_llama.vectors.cards.evidence import arms_lines, facts_lines, layer_lines, verdict_lines
from steer_llama.vectors.cards.front_matter import front_matter, hub_id
from steer_llama.vectors.vector import SteeringVector

_TO_TRY = 0.2
"""A strength to begin with where none is recommended."""
_TAGS = ("steer-llama", "steering-vector", "activation-steering", "representation-engineering")
_LIMITS = (
    "- It is for the weights that it was fitted on. Other models have other directions, also of the same width.",
    "- It moves a style, not what the model knows; too much of it costs coherence, and far too much gives garbage.",
    "- The evidence is from the questions and the sampling that it was measured with.",
)


def vector_card(vector: SteeringVector, repo_id: str = "") -> str:
    """A README.md with front matter.

    Args:
        vector: the vector; its evidence may have any keys.
        repo_id: where it will lie on the hub, for the commands.
    """
    layer, strength, recommended = _where(vector)
    trait, model = plain(vector.trait) or "(not told)", code(vector.model)
    base = hub_id(vector.model)
    front = {"base_model": base, "library_name": "steer-llama", "tags": [*_TAGS]}
    lines = [
        f"# Steering vector: {trait}",
        "",
        f"A direction in the residual stream of {model} that moves its answers towards the trait *{trait}* when it is "
        "added while the model runs. Made with steer-llama.",
        "",
        "| | |",
        "|---|---|",
        f"| trait | {trait} |",
        f"| model | {model}{f', revision {code(vector.revision)}' if vector.revision else ''} |",
        *([f"| architecture | {code(vector.model_type)} |"] if vector.model_type else []),
        f"| estimator | {code(vector.estimator)} |",
        f"| positions that were averaged | {code(vector.positions)} |",
        f"| layers | {len(vector.layers)}: {min(vector.layers)} to {max(vector.layers)}, {vector.width} wide |",
        "| layer convention | layer L is the 0-based decoder block L, at its output (`blocks.L.hook_resid_post`, "
        "`hidden_states[L + 1]`) |",
        f"| recommended | {recommended} |",
        *([f"| fingerprint of the weights | {code(vector.model_fingerprint)} |"] if vector.model_fingerprint else []),
        "",
        "## Does it work?",
        "",
        *verdict_lines(vector),
        "",
    ]
    if table := arms_lines(vector):
        lines += [*table, ""]
    lines += ["## Evidence from the pairs", ""]
    evidence = [*facts_lines(vector, lambda name, value: f"- {name}: {code(value, 80)}"), ""]
    lines += evidence if len(evidence) > 1 else []
    lines += [*(layer_lines(vector, layer) or ["The file holds no measurements."]), ""]
    lines += ["## How to use it", "", *_usage(vector, layer, strength, repo_id), "", "## Limits", "", *_LIMITS]
    return f"{front_matter(front)}\n" + "\n".join(lines) + "\n"


def _where(vector: SteeringVector) -> tuple[int, float, str]:
    """The layer and strength to show, and what to say of them."""
    layer, strength = vector.recommended_layer, vector.recommended_strength
    if layer is not None and strength is not None:
        return layer, strength, f"layer {layer}, strength {strength:g}"
    if layer is None:
        layer = sorted(vector.layers)[len(vector.layers) // 2]
        return layer, _TO_TRY, "nothing yet: find a layer and a strength with `steer-llama sweep`"
    return layer, _TO_TRY, f"layer {layer}; no strength yet: find one with `steer-llama sweep`"


def _usage(vector: SteeringVector, layer: int, strength: float, repo_id: str) -> list[str]:
    model = hub_id(vector.model) or ("smollm2" if vector.model == "smollm2" else "path/to/the/model")
    direction = vector.direction_D(layer).astype(np.float64)
    if vector.residual_norm_L is not None and direction.any():
        coefficient = vector.coefficient(layer, strength)
        how, flags = f"strength {strength:g}", f"--layer {layer} --strength {strength:g}"
        note = f"  # strength {strength:g}: ‖added‖ over the mean norm of the residual stream at this layer"
    else:
        coefficient, how, flags, note = 1.0, "coefficient 1", f"--layer {layer} --coefficient 1", "  # to try"
    quoted = shlex.quote(model)
    if vector.recommended_layer != layer or vector.recommended_strength != strength:
        how += ", to try"
    lines = ["With steer-llama:", "", "```", "pip install steer-llama"]
    if hub_id(repo_id):
        lines.append(f"steer-llama pull {repo_id} -o vector.safetensors")
    if vector.residual_norm_L is not None:
        lines.append(f"steer-llama generate 'How are you?' -m {quoted} --vector vector.safetensors {flags}")
    lines += [
        f"steer-llama export vector.safetensors --to gguf {flags} -o vector.gguf    # llama.cpp: --control-vector",
        f"steer-llama export vector.safetensors --to checkpoint --model {quoted} {flags} -o steered    # any engine",
        "```",
        "",
        f"With transformers alone (layer {layer}, {how}):",
        "",
        "```python",
        *_HOOK.format(layer=layer, coefficient=f"{coefficient:.6g}", note=note, model=json.dumps(model)).splitlines(),
        "```",
    ]
    return lines


_HOOK = """\
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

layer, coefficient = {layer}, {coefficient}{note}
with safe_open("vector.safetensors", framework="pt") as file:
    row = file.get_tensor("layers").tolist().index(layer)
    added = coefficient * file.get_tensor("directions")[row].float()

tokenizer = AutoTokenizer.from_pretrained({model})
model = AutoModelForCausalLM.from_pretrained({model})

def steer(block, inputs, output):
    hidden = output[0] if isinstance(output, tuple) else output
    hidden = hidden + added.to(hidden.device, hidden.dtype)
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

blocks = model.get_decoder().layers  # .h in GPT-2 and its kin
hook = blocks[layer].register_forward_hook(steer)  # hook.remove() ends it
"""
