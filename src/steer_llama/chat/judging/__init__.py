"""A model as a judge: what it is asked, and how a score is read from what it replies. Pure; nothing is sent here."""

from steer_llama.chat.judging.expectation import Distribution, Opening, likely_digits, opening_of, probabilities
from steer_llama.chat.judging.judgement import Judgement, Score, over_repeats
from steer_llama.chat.judging.methods import Method, misfit, read_reply, remarks
from steer_llama.chat.judging.prompts import (
    ANSWER_SCHEMA,
    EXCHANGE,
    check_prompt,
    coherence_prompt,
    fill,
    repair_of,
    structured_prompt,
)
from steer_llama.chat.judging.replies import flaw_in, refuses, why_silent

__all__ = [
    "ANSWER_SCHEMA",
    "EXCHANGE",
    "Distribution",
    "Judgement",
    "Method",
    "Opening",
    "Score",
    "check_prompt",
    "coherence_prompt",
    "fill",
    "flaw_in",
    "likely_digits",
    "misfit",
    "opening_of",
    "over_repeats",
    "probabilities",
    "read_reply",
    "refuses",
    "remarks",
    "repair_of",
    "structured_prompt",
    "why_silent",
]
