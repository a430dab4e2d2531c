"""Many conversations in one forward pass, without padding and with every common beginning computed once."""

from steer_llama.lm.packing.attention import Memory, Pass, computing, packed_attention
from steer_llama.lm.packing.blocks import Blocks, ModelCode
from steer_llama.lm.packing.fused import FusedBlocks, not_fusable
from steer_llama.lm.packing.tree import Packed, common_prefix, pack

__all__ = [
    "Blocks",
    "FusedBlocks",
    "Memory",
    "ModelCode",
    "Packed",
    "Pass",
    "common_prefix",
    "computing",
    "not_fusable",
    "pack",
    "packed_attention",
]
