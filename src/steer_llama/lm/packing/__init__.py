"""Many conversations in one forward pass, without padding and with every common beginning computed once."""

from steer_llama.lm.packing.attention import Attends, How, Memory, Pass, attend_to, computing, packed_attention
from steer_llama.lm.packing.blocks import Blocks, ModelCode
from steer_llama.lm.packing.fused import FusedBlocks, carries_hooks, not_fusable
from steer_llama.lm.packing.matrix import PackedMatrix
from steer_llama.lm.packing.tree import Packed, common_prefix, pack

__all__ = [
    "Attends",
    "Blocks",
    "FusedBlocks",
    "How",
    "Memory",
    "ModelCode",
    "Packed",
    "PackedMatrix",
    "Pass",
    "attend_to",
    "carries_hooks",
    "common_prefix",
    "computing",
    "not_fusable",
    "pack",
    "packed_attention",
]
