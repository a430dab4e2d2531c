"""Talking to chat models: endpoints, the journal of their answers, and what is sent to them."""

from steer_llama.chat.budget import Budget, Spending, cost_of, spent_on
from steer_llama.chat.endpoint import Endpoint
from steer_llama.chat.journal import Journal
from steer_llama.chat.openai_compatible import OpenAICompatibleEndpoint, answer_together, key_of
from steer_llama.chat.probing import Finding, Probe, Prober
from steer_llama.chat.prompts import build_messages, chat_request, last_question, question_seed
from steer_llama.chat.recorded import RecordedEndpoint, read_recorded, read_responses
from steer_llama.chat.server_errors import shown_url

__all__ = [
    "Budget",
    "Endpoint",
    "Finding",
    "Journal",
    "OpenAICompatibleEndpoint",
    "Probe",
    "Prober",
    "RecordedEndpoint",
    "Spending",
    "answer_together",
    "build_messages",
    "chat_request",
    "cost_of",
    "key_of",
    "last_question",
    "question_seed",
    "read_recorded",
    "read_responses",
    "shown_url",
    "spent_on",
]
