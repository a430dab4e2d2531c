"""Steering vectors: what they are, how they are estimated, what speaks for them, and the files that hold them."""

from steer_llama.vectors.estimators import ESTIMATORS, Estimator, mean_difference
from steer_llama.vectors.evidence import LayerEvidence, as_columns, layer_evidence
from steer_llama.vectors.formats import (
    FORMATS,
    Reading,
    VectorFormat,
    format_named,
    open_vector,
    read_vector,
    save_vector,
    write_vector,
)
from steer_llama.vectors.vector import SteeringVector

__all__ = [
    "ESTIMATORS",
    "FORMATS",
    "Estimator",
    "LayerEvidence",
    "Reading",
    "SteeringVector",
    "VectorFormat",
    "as_columns",
    "format_named",
    "layer_evidence",
    "mean_difference",
    "open_vector",
    "read_vector",
    "save_vector",
    "write_vector",
]
