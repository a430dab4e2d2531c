"""Writing answers, many at once, in which every row has its own seed and its own steering."""

from steer_llama.lm.generation.rows import Generation, Row
from steer_llama.lm.generation.writing import generate

__all__ = ["Generation", "Row", "generate"]
