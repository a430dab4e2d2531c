"""Having a chat model write what is asked for a trait: instruction pairs, questions and the evaluation prompt."""

from steer_llama.chat.authoring.dialogue import Ask
from steer_llama.chat.authoring.outright import asks_outright
from steer_llama.chat.authoring.similar import near_duplicate
from steer_llama.chat.authoring.writing import Written, write_elicitation

__all__ = ["Ask", "Written", "asks_outright", "near_duplicate", "write_elicitation"]
