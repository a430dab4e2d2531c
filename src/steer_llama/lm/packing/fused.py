"""A Llama's blocks on a CPU, in as few sweeps over memory as oneDNN allows.

transformers' code writes some thirty intermediate tensors a block. Here the norms' weights are multiplied into the
matrices behind them, the three projections of the attention are one, and the activation function, the gate's product
and (in float32) the residual sums are computed while the matrix products write their results. The matrices are kept in
oneDNN's own order, as a second copy of the blocks' weights.

In bfloat16 the residual stream itself stays in float32, so it is nearer to float32's than that of transformers' code.

Shapes: R rows, D width, H query heads, K key-value heads, A head width, I inner width of the MLP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.machine_memory import available_bytes, total_bytes
from steer_llama.lm.packing.attention import Attends, How
from steer_llama.lm.packing.blocks import Edit, Read
from steer_llama.lm.packing.matrix import PackedMatrix
from steer_llama.lm.packing.tree import Ids

_LAYERS = {"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer"}
"""Blocks that compute just this; their relatives scale, clip or norm in further places."""
_SILU = ("silu", "swish")
_SHARE = 0.25
"""Of the machine's memory that the second copy may take."""
_Turn = tuple[Tensor, Tensor]
"""Cosines and sines (R, 1, A) of the rotary embedding."""


def not_fusable(model: LanguageModel) -> str | None:
    """Why a model's blocks cannot be run so; ``None`` if they can."""
    if others := sorted({type(block).__name__ for block in model.blocks} - _LAYERS):
        return f"{', '.join(others)} is none of {', '.join(sorted(_LAYERS))}"
    if model.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return "oneDNN is for CPUs" if model.device.type != "cpu" else "this PyTorch has no oneDNN"
    linears = [each for block in model.blocks for each in _linears(block)]
    if any(type(each) is not nn.Linear for each in linears):
        return "the matrices are quantised or sliced"
    copied = sum(each.weight.numel() * each.weight.element_size() for each in linears)
    total, available = total_bytes(), available_bytes()
    reasons = {
        f"the weights are {model.dtype}": model.dtype not in ("float32", "bfloat16"),
        f"the activation function is {model.text_config.hidden_act}": model.text_config.hidden_act not in _SILU,
        "its modules carry hooks, which would not be called": any(carries_hooks(block) for block in model.blocks),
        f"a second copy of {copied / 1e9:.1f} GB is too much for {total / 1e9:.1f} GB of memory": copied
        > _SHARE * total,
        f"a second copy of {copied / 1e9:.1f} GB is too much for the {available / 1e9:.1f} GB that are left": copied
        > available,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def carries_hooks(module: nn.Module) -> bool:
    """Whether somebody else's hooks would have to be called, in the module or in one within it.

    Those that transformers leaves behind when it was once asked for hidden states only collect them on demand.
    """
    hooks = (
        hook for each in module.modules() for hook in (*each._forward_hooks.values(), *each._forward_pre_hooks.values())
    )
    return any(not str(getattr(hook, "__module__", "")).startswith("transformers.") for hook in hooks)


def _linears(block: Any) -> tuple[Any, ...]:
    attention, mlp = block.self_attn, block.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    return (*projections, mlp.gate_proj, mlp.up_proj, mlp.down_proj)


@dataclass(frozen=True)
class _Block:
    projections: PackedMatrix
    """D → (H + 2K) · A: queries, keys, values."""
    output: PackedMatrix
    gate: PackedMatrix
    up: PackedMatrix
    down: PackedMatrix
    window: int | None
    scaling: float


class FusedBlocks:
    """The blocks of a model for which `not_fusable` says nothing (see `Blocks`)."""

    name = "fused"
    about = "through blocks fused for the CPU (oneDNN)"

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        config, first = model.text_config, model.blocks[0].self_attn
        self._heads, self._kv_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self._head_width = int(first.head_dim)
        self._epsilon = float(model.blocks[0].input_layernorm.variance_epsilon)
        self._dtype = model.hf.dtype
        with torch.inference_mode():
            self._blocks = [self._packed(block) for block in model.blocks]

    def _packed(self, block: Any) -> _Block:
        query, key, value, output, gate, up, down = _linears(block)
        before_attention, before_mlp = block.input_layernorm.weight, block.post_attention_layernorm.weight
        # Mistral's windows stand in its configuration, Qwen's beside each layer.
        everywhere = self._model.text_config.sliding_window if self._model.text_config.model_type == "mistral" else None
        return _Block(
            projections=PackedMatrix((query, key, value), before_attention),
            output=PackedMatrix((output,)),
            gate=PackedMatrix((gate,), before_mlp),
            up=PackedMatrix((up,), before_mlp),
            down=PackedMatrix((down,)),
            window=getattr(block.self_attn, "sliding_window", everywhere),
            scaling=float(block.self_attn.scaling),
        )

    def run(self, ids_R: Ids, positions_R: Ids, part: Attends, layers: Sequence[int], read: Read) -> None:
        """See `Blocks`."""
        hidden_RD, turn = self._begun(ids_R, positions_R)
        for layer in range(max(layers, default=len(self._blocks) - 1) + 1):
            hidden_RD = self._through(layer, hidden_RD, turn, part)
            if layer in layers:
                read(layer, hidden_RD[None])

    def normed(self, ids_R: Ids, positions_R: Ids, part: Attends, layers: Sequence[int], edit: Edit) -> Tensor:
        """See `Blocks`. Positions may be given for more rows than tokens; ``edit`` then adds the rest as it goes."""
        hidden_RD, (cos_R1A, sin_R1A) = self._begun(ids_R, positions_R)
        for layer in range(len(self._blocks)):
            rows = len(hidden_RD)
            hidden_RD = self._through(layer, hidden_RD, (cos_R1A[:rows], sin_R1A[:rows]), part)
            if layer in layers:
                hidden_RD = edit(layer, hidden_RD)
        normed_RD: Tensor = self._model.decoder.norm(hidden_RD.to(self._dtype))
        return normed_RD

    def _begun(self, ids_R: Ids, positions_R: Ids) -> tuple[Tensor, _Turn]:
        """The embeddings (R, D), and how far the heads are turned at each position."""
        hidden_RD = self._model.hf.get_input_embeddings()(torch.from_numpy(ids_R).long()).float()
        positions_1R = torch.from_numpy(positions_R[None]).long()
        cos_1RA, sin_1RA = self._model.decoder.rotary_emb(hidden_RD[None], positions_1R)
        return hidden_RD, (cos_1RA[0, :, None].to(self._dtype), sin_1RA[0, :, None].to(self._dtype))

    def _through(self, layer: int, hidden_RD: Tensor, turn: _Turn, part: Attends) -> Tensor:
        """What a block makes of the residual stream."""
        block = self._blocks[layer]
        attended_RD = self._attended(layer, block, hidden_RD, turn, part)
        hidden_RD = self._added(block.output, attended_RD, hidden_RD)
        normed_RD = self._normed(hidden_RD)
        gated_RI = block.up.combined(normed_RD, block.gate(normed_RD, "swish"), "mul")
        return self._added(block.down, gated_RI, hidden_RD)

    def _attended(self, layer: int, block: _Block, hidden_RD: Tensor, turn: _Turn, part: Attends) -> Tensor:
        """What the heads give (R, H · A)."""
        heads, turned = self._heads, self._heads + self._kv_heads
        all_RHA = block.projections(self._normed(hidden_RD)).view(len(hidden_RD), -1, self._head_width)
        turned_1HRA = _turned(all_RHA[:, :turned], *turn).transpose(0, 1)[None]
        values_1KRA = all_RHA[:, turned:].transpose(0, 1)[None]
        how = How(window=block.window)
        attended_1RHA = part.attend(
            layer, turned_1HRA[:, :heads], turned_1HRA[:, heads:], values_1KRA, block.scaling, how
        )
        return attended_1RHA.view(len(hidden_RD), -1)

    def _normed(self, hidden_RD: Tensor) -> Tensor:
        """RMSNorm without its weights, which are in the matrices."""
        norm_R1 = torch.linalg.vector_norm(hidden_RD, dim=-1, keepdim=True)
        scale_R1 = torch.rsqrt(norm_R1.square() / hidden_RD.shape[-1] + self._epsilon)
        return (hidden_RD * scale_R1).to(self._dtype)

    def _added(self, matrix: PackedMatrix, inputs: Tensor, hidden_RD: Tensor) -> Tensor:
        if self._dtype == torch.float32:
            return matrix.combined(inputs, hidden_RD, "add")
        return hidden_RD.add_(matrix(inputs))


def _turned(heads_RHA: Tensor, cos_R1A: Tensor, sin_R1A: Tensor) -> Tensor:
    """Rotary position embedding, as Llama has it: the first half of a head's width goes with the second."""
    half = heads_RHA.shape[-1] // 2
    turned_RHA = heads_RHA * cos_R1A
    turned_RHA[..., :half].addcmul_(heads_RHA[..., half:], sin_R1A[..., :half], value=-1)
    turned_RHA[..., half:].addcmul_(heads_RHA[..., :half], sin_R1A[..., half:])
    return turned_RHA
