"""Reading the residual stream of conversations, by whatever engine runs the weights."""

from steer_llama.lm.reading.conversation import Batches, Conversation, Pooled, Reader, Wanted
from steer_llama.lm.reading.opening import follow, open_reader
from steer_llama.lm.reading.packed import PackedReader
from steer_llama.lm.reading.parallel import is_follower

__all__ = [
    "Batches",
    "Conversation",
    "PackedReader",
    "Pooled",
    "Reader",
    "Wanted",
    "follow",
    "is_follower",
    "open_reader",
]
