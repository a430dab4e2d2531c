"""Many conversations in one forward pass, without padding and with every common beginning computed once."""

from steer_llama.lm.packing.attention import Memory, Pass, computing, packed_attention
from steer_llama.lm.packing.tree import Packed, common_prefix, pack

__all__ = ["Memory", "Packed", "Pass", "common_prefix", "computing", "pack", "packed_attention"]
