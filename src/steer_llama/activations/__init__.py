"""Reading the target's residual stream over pairs, and the files that hold it."""

from steer_llama.activations.confounds import CONFOUNDS, Averaged, measure_confounds
from steer_llama.activations.engine import encode_pair, extract_pairs
from steer_llama.activations.positions import POSITIONS, PositionChoice, check_positions, masks_of
from steer_llama.activations.reader import Activations, open_activations
from steer_llama.activations.standing import Existing

__all__ = [
    "CONFOUNDS",
    "POSITIONS",
    "Activations",
    "Averaged",
    "Existing",
    "PositionChoice",
    "check_positions",
    "encode_pair",
    "extract_pairs",
    "masks_of",
    "measure_confounds",
    "open_activations",
]
