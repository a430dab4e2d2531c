"""Steering vectors: what they are, how they are estimated, what speaks for them, and the files that hold them."""

from steer_llama.vectors.algebra import project_onto, project_out, relative, unit
from steer_llama.vectors.estimators import ESTIMATORS, LINEAR, Estimator
from steer_llama.vectors.evidence import LayerEvidence, Stability, as_columns, layer_evidence
from steer_llama.vectors.expressions import evaluate
from steer_llama.vectors.formats import (
    FORMATS,
    Reading,
    VectorFormat,
    format_named,
    from_steering_vectors,
    open_vector,
    read_vector,
    save_vector,
    to_steering_vectors,
    write_vector,
)
from steer_llama.vectors.matching import Confounds, Matching
from steer_llama.vectors.recipe import Recipe
from steer_llama.vectors.resampling import Resampling
from steer_llama.vectors.selection import select
from steer_llama.vectors.separation import Separation
from steer_llama.vectors.similarity import cosines
from steer_llama.vectors.vector import SteeringVector

__all__ = [
    "ESTIMATORS",
    "FORMATS",
    "LINEAR",
    "Confounds",
    "Estimator",
    "LayerEvidence",
    "Matching",
    "Reading",
    "Recipe",
    "Resampling",
    "Separation",
    "Stability",
    "SteeringVector",
    "VectorFormat",
    "as_columns",
    "cosines",
    "evaluate",
    "format_named",
    "from_steering_vectors",
    "layer_evidence",
    "open_vector",
    "project_onto",
    "project_out",
    "read_vector",
    "relative",
    "save_vector",
    "select",
    "to_steering_vectors",
    "unit",
    "write_vector",
]
