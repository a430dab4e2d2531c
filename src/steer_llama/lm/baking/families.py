"""Where each architecture has a bias that is added to the residual stream last, and how its configuration asks for it.

A block may be baked where the last thing that happens to its output is ``hidden + module(x)`` with a bias in the
module: then that bias is added at every token, exactly where a hook at the block's output adds its vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import AutoConfig

from steer_llama.errors import ModelError
from steer_llama.lm.baking.as_llama import as_llama
from steer_llama.lm.weights import LOADING_ERRORS

INSTEAD = (
    "Steer it while it runs instead: `steer-llama export` writes the vector for llama.cpp (--to gguf) and vLLM "
    "(--to vllm-lens)."
)


@dataclass(frozen=True)
class Place:
    """Where a model's blocks take a bias."""

    blocks: str
    """Path of the blocks in the names of tensors, e.g. ``model.layers``; checkpoints may leave out its first part."""
    module: str
    """The module in a block whose bias is used."""
    n_layers: int
    others: tuple[str, ...] = ()
    """Modules that get a zero bias along with it, because one setting is for all of them."""
    config: Mapping[str, Any] | None = None
    """The new ``config.json``; ``None`` where the biases are there already."""
    multiplier: float = 1.0
    """What the block multiplies the module's output with before it adds it."""
    notes: tuple[str, ...] = field(default=())

    @property
    def exists(self) -> bool:
        """Whether the model has the biases already."""
        return self.config is None

    @property
    def rewritten(self) -> bool:
        """Whether the model becomes one of another architecture."""
        return bool(self.notes)


_GATED = ("mlp.gate_proj", "mlp.up_proj")
# One setting, `mlp_bias`, gives every linear layer of the MLP a bias.
_WITH_MLP_BIAS = {"llama": _GATED, "granite": _GATED, "smollm3": _GATED, "nemotron": ("mlp.up_proj",)}
# A bias at the MLP's output that is always there, or that a setting says is there.
_WITH_BIAS = {
    "gpt2": ("transformer.h", "mlp.c_proj", ""),
    "gpt_neo": ("transformer.h", "mlp.c_proj", ""),
    "gpt_bigcode": ("transformer.h", "mlp.c_proj", ""),
    "gptj": ("transformer.h", "mlp.fc_out", ""),
    "codegen": ("transformer.h", "mlp.fc_out", ""),
    "gpt_neox": ("gpt_neox.layers", "mlp.dense_4h_to_h", ""),
    "bloom": ("transformer.h", "mlp.dense_4h_to_h", ""),
    "falcon": ("transformer.h", "mlp.dense_4h_to_h", "bias"),
    "phi": ("model.layers", "mlp.fc2", ""),
    "starcoder2": ("model.layers", "mlp.c_proj", "use_bias"),
    "opt": ("model.decoder.layers", "fc2", "enable_bias"),
}
_AS_LLAMA = ("mistral", "qwen2")

_POST_NORM = "its blocks normalise the MLP's output before they add it, and that norm has no bias"
_NO_BIAS = "its MLP's output layer has no bias, and no setting gives it one"
_EXPERTS = "its MLP is a mixture of experts, whose outputs are weighted before they are added"
_REASONS = {
    **dict.fromkeys(("gemma2", "gemma3", "gemma3_text", "gemma3n", "glm4", "olmo2", "olmo3", "exaone4"), _POST_NORM),
    **dict.fromkeys(("gemma", "phi3", "qwen3", "olmo", "stablelm", "cohere", "cohere2", "mpt"), _NO_BIAS),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "llama4", "llama4_text", "deepseek_v3", "olmoe"), _EXPERTS),
    **dict.fromkeys(("gpt_oss", "phimoe", "granitemoe", "glm4_moe"), _EXPERTS),
}

FAMILIES = tuple(sorted({*_WITH_MLP_BIAS, *_WITH_BIAS, *_AS_LLAMA}))
"""Architectures (transformers' ``model_type``) that can be baked."""


def place_of(config: Mapping[str, Any], where: str) -> Place:
    """Where a model of this configuration takes a bias.

    Args:
        config: its ``config.json``.
        where: what the user calls it.

    Raises:
        ModelError: its architecture has no such place, or none is known; the text says what to do instead.
    """
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        reason = _REASONS.get(str(model_type), "no place for a bias is known in this architecture")
        raise ModelError(f"{where}: a {model_type} model cannot be baked: {reason}. {INSTEAD}")
    try:
        full = AutoConfig.for_model(**{key: value for key, value in config.items() if key != "quantization_config"})
    except LOADING_ERRORS as error:
        raise ModelError(f"{where}: its config.json cannot be read: {' '.join(str(error).split())}") from error
    n_layers = int(full.num_hidden_layers)
    if model_type in _WITH_BIAS:
        blocks, module, setting = _WITH_BIAS[model_type]
        return _biased(full, where, Place(blocks, module, n_layers), setting)
    if getattr(full, "mlp_bias", False):
        return Place("model.layers", "mlp.down_proj", n_layers, multiplier=_multiplier(full, where))
    if "AutoModelForCausalLM" in (config.get("auto_map") or {}):
        raise ModelError(
            f"{where}: config.json names code of its own for the model (auto_map), which may ignore 'mlp_bias'. "
            f"Take the model without that code. {INSTEAD}"
        )
    if model_type in _AS_LLAMA:
        changed, others, notes = as_llama(config, full, where, INSTEAD)
        return Place("model.layers", "mlp.down_proj", n_layers, (*_GATED, *others), changed, notes=notes)
    changed = {**config, "mlp_bias": True}
    others = _WITH_MLP_BIAS[model_type]
    return Place("model.layers", "mlp.down_proj", n_layers, others, changed, _multiplier(full, where))


def _biased(full: Any, where: str, place: Place, setting: str) -> Place:
    if setting and not getattr(full, setting):
        raise ModelError(
            f"{where}: its config.json says '{setting}': false, so its MLP has no bias to bake into. {INSTEAD}"
        )
    if getattr(full, "slow_but_exact", False) and getattr(full, "pretraining_tp", 1) > 1:
        raise ModelError(f"{where}: 'slow_but_exact' leaves the MLP's bias out. Set it to false in config.json.")
    if full.model_type == "opt" and not full.do_layer_norm_before:
        # The 350m's blocks end in a norm, whose own bias is then the last thing added.
        if not full.layer_norm_elementwise_affine:
            raise ModelError(f"{where}: its blocks end in a norm without a bias. {INSTEAD}")
        return Place(place.blocks, "final_layer_norm", place.n_layers)
    return place


def _multiplier(full: Any, where: str) -> float:
    multiplier = float(getattr(full, "residual_multiplier", 1.0))
    if multiplier == 0:
        raise ModelError(f"{where}: its 'residual_multiplier' is 0, so its blocks do nothing.")
    return multiplier
