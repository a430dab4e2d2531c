"""Cards: a README.md that says what a vector, or a model with one baked in, is, and what it is worth."""

from steer_llama.vectors.cards.baked import BakedFacts, baked_card
from steer_llama.vectors.cards.front_matter import base_license, hub_id
from steer_llama.vectors.cards.vector import vector_card

__all__ = ["BakedFacts", "baked_card", "base_license", "hub_id", "vector_card"]
