"""A model's parameters, counted by building it without memory (torch's meta device)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from steer_llama.errors import ModelError
from steer_llama.lm.layers import decoder_blocks
from steer_llama.lm.weights import LOADING_ERRORS


@dataclass(frozen=True)
class Part:
    """Some of a model's parameters."""

    parameters: int
    sharded: int
    """Those that transformers' tensor-parallel plan splits among the GPUs; every GPU has the others whole."""


@dataclass(frozen=True)
class BlockShape(Part):
    """One decoder block."""

    active: int
    """Elements of the matrices that one token is multiplied with: of the experts, only those it is sent to."""


@dataclass(frozen=True)
class ModelShape:
    """What a configuration says of a model."""

    name: str
    architecture: str
    dtype: str
    """The weights' own type."""
    blocks: tuple[BlockShape, ...]
    embeddings: Part
    lm_head: Part | None
    """``None`` where it is the embeddings' matrix (tied)."""
    rest: Part
    """Final norm, learned positions, a vision tower."""
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    """Intermediate values of one token in one block, over all experts that it is sent to."""
    experts: tuple[int, int] | None
    """How many a token is sent to, and how many there are."""
    context_length: int | None
    quantised: str = ""
    """How the checkpoint is quantised, which is not counted; empty where it is not."""

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything; a matrix that two places share stands here once."""
        return (self.embeddings, *self.blocks, *(() if self.lm_head is None else (self.lm_head,)), self.rest)

    @property
    def parameters(self) -> int:
        """In total."""
        return sum(part.parameters for part in self.parts)


def shape_of(config: Any, name: str) -> ModelShape:
    """Build the model of a transformers configuration on the meta device, and count.

    Raises:
        ModelError: transformers cannot build a decoder from it.
    """
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (*LOADING_ERRORS, AttributeError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{name}: no model can be built from its config.json ({told}). "
            "Give the configuration of a decoder-only transformer."
        ) from error
    text = config.get_text_config()
    experts = _experts(text)
    blocks = decoder_blocks(model)
    split = _Split(model)
    head = model.get_output_embeddings()
    embeddings = model.get_input_embeddings()
    tied = head is None or head.weight is embeddings.weight
    own = [embeddings, *blocks, *([] if tied else [head])]
    counted = {id(parameter) for module in own for parameter in module.parameters()}
    width, heads = int(text.hidden_size), int(text.num_attention_heads)
    return ModelShape(
        name=name,
        architecture=str(config.model_type),
        dtype=str(getattr(config, "dtype", None) or torch.float32).removeprefix("torch."),
        blocks=tuple(_block(block, experts, split) for block in blocks),
        embeddings=split.part(embeddings.parameters()),
        lm_head=None if tied else split.part(head.parameters()),
        rest=split.part(parameter for parameter in model.parameters() if id(parameter) not in counted),
        width=width,
        heads=heads,
        kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(text, "head_dim", None) or width // heads),
        mlp_width=_mlp_width(text, experts),
        experts=experts,
        context_length=getattr(text, "max_position_embeddings", None),
        quantised=_quantised(config),
    )


def _quantised(config: Any) -> str:
    """The method, e.g. ``bitsandbytes``; empty where the weights are plain."""
    told = getattr(config, "quantization_config", None)
    if told is None:
        return ""
    method = told.get("quant_method") if isinstance(told, dict) else getattr(told, "quant_method", None)
    return str(getattr(method, "value", method) or "unknown")


class _Split:
    """Which parameters tensor parallelism splits."""

    def __init__(self, model: Any) -> None:
        plan: dict[str, str] = model.tp_plan or {}
        self._sharded = {id(weight) for name, weight in model.named_parameters() if _is_split(name, plan)}

    def part(self, parameters: Iterable[nn.Parameter]) -> Part:
        """Count them."""
        listed = list(parameters)
        return Part(
            sum(map(torch.numel, listed)), sum(weight.numel() for weight in listed if id(weight) in self._sharded)
        )


def _is_split(name: str, plan: dict[str, str]) -> bool:
    pattern = re.sub(r"\.\d+\.", ".*.", name)
    style = plan.get(pattern) or plan.get(pattern.rpartition(".")[0]) or ""
    # The bias of a layer that is split by rows is added once, after the sum.
    return "colwise" in style or ("rowwise" in style and not name.endswith(".bias"))


def _block(block: nn.Module, experts: tuple[int, int] | None, split: _Split) -> BlockShape:
    active = 0
    for name, weight in block.named_parameters():
        if weight.dim() < 2:  # a norm's gain, a bias
            continue
        share = experts if experts and ".experts." in f".{name}" else (1, 1)
        active += weight.numel() * share[0] // share[1]
    part = split.part(block.parameters())
    return BlockShape(part.parameters, part.sharded, active)


def _experts(text: Any) -> tuple[int, int] | None:
    """How many experts a token is sent to, and how many there are; architectures have several names for both."""
    total = _first(text, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    used = _first(
        text, "num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "moe_k", "top_k_experts"
    )
    return (used, total) if used and total else None


def _mlp_width(text: Any, experts: tuple[int, int] | None) -> int:
    own = _first(text, "intermediate_size", "n_inner", "ffn_dim") or 4 * int(text.hidden_size)
    if experts is None:
        return own
    return max(
        own if _first(text, "moe_intermediate_size") else 0, experts[0] * (_first(text, "moe_intermediate_size") or own)
    )


def _first(config: Any, *names: str) -> int | None:
    for name in names:
        if isinstance(value := getattr(config, name, None), int):
            return value
    return None
