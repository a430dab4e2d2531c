"""Measuring text: where its marks stand, how often each occurs, and trait scores that need no model."""

from steer_llama.style.diversity import distinct_n
from steer_llama.style.features import FEATURES, count_words, measure
from steer_llama.style.metrics import METRICS, Metric, get_metric
from steer_llama.style.profile import mean_profile
from steer_llama.style.refusals import is_refusal, refusal_phrase
from steer_llama.style.repetition import repetition
from steer_llama.style.spans import SPANS, emoji_spans, markdown_spans, non_alphabetic_spans

__all__ = [
    "FEATURES",
    "METRICS",
    "SPANS",
    "Metric",
    "count_words",
    "distinct_n",
    "emoji_spans",
    "get_metric",
    "is_refusal",
    "markdown_spans",
    "mean_profile",
    "measure",
    "non_alphabetic_spans",
    "refusal_phrase",
    "repetition",
]
