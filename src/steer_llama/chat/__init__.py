"""Talking to chat models: endpoints, the journal of their answers, and what is sent to them."""

from steer_llama.chat.endpoint import Endpoint
from steer_llama.chat.journal import Journal
from steer_llama.chat.openai_compatible import OpenAICompatibleEndpoint
from steer_llama.chat.prompts import build_messages, last_question, question_seed, request_key
from steer_llama.chat.recorded import RecordedEndpoint, read_recorded, read_responses

__all__ = [
    "Endpoint",
    "Journal",
    "OpenAICompatibleEndpoint",
    "RecordedEndpoint",
    "build_messages",
    "last_question",
    "question_seed",
    "read_recorded",
    "read_responses",
    "request_key",
]
