"""The arms' answers, their scores, and the pairs made of them."""

from typing import Literal

from steer_llama.records.base import Message, Record, SplitName


class Response(Record):
    """An arm's answer to a question: a line of ``responses.jsonl``."""

    key: str
    arm: str
    role: Literal["source", "target"]
    split: SplitName
    question: str
    text: str
    finish_reason: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning: str = ""
    """The model's thoughts, if it had any; never a part of ``text``."""
    reason: str | None = None
    """Why there is no answer, where the server refused the question (``finish_reason`` is then ``refused``)."""


class Result(Record):
    """Both arms' answers to one question with their scores: an entry of ``results.json``.

    A score is 0–100 or ``None`` (unscored: the reason says why), never 0 for "could not tell".
    """

    question: str
    source_response: str
    target_response: str
    source_score: float | None = None
    target_score: float | None = None
    score_difference: float | None = None
    """Source minus target, in points."""
    source_coherence: float | None = None
    """0–100, where a judge scored it."""
    target_coherence: float | None = None
    source_score_spread: float | None = None
    """Standard deviation over a judge's repeated judgements, in points."""
    target_score_spread: float | None = None
    source_score_mass: float | None = None
    """Probability that a judge had on the numbers 0–100, where the score is an expectation over them."""
    target_score_mass: float | None = None
    split: SplitName | None = None
    kept: bool | None = None
    reason: str | None = None


class Pair(Record):
    """Two answers to the same prompt: ``chosen`` has the style that we want, ``rejected`` has not."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    name: str
    """What to call the pair in messages: its question, or where it stands in its file."""
    rejected_prompt: tuple[Message, ...] | None = None
    """Only where the two answers were given to different prompts."""
