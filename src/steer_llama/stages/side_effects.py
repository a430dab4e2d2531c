"""Side effects of steering: neutral text and prompts, refusals, facts, and drift over the turns of a conversation."""

from collections.abc import Callable, Sequence

from steer_llama.chat import Journal, build_messages
from steer_llama.config import Sampling
from steer_llama.errors import ModelError
from steer_llama.evaluation import Marked, is_right, judge_side_effects
from steer_llama.lm.divergence import Passage
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering
from steer_llama.lm.tokens import encode_answer, encode_prompt
from steer_llama.progress import Reporter
from steer_llama.records import Demonstration, EffectItems, EffectReading, EffectReply, Message, SideEffects, TurnAnswer
from steer_llama.stages.effect_bench import Ask, Bench
from steer_llama.stages.effect_items import effect_items
from steer_llama.style import distinct_n, is_refusal, measure

BRIEFLY = "Answer in a few words."
"""Stands behind every factual question: a style that takes more words should not lose answers to the limit."""

Score = Callable[[str], float | None]
"""The trait score of an answer, 0–100; ``None`` where it cannot be told."""


def side_effects(
    model: LanguageModel,
    steering: tuple[Steering, ...],
    sampling: Sampling,
    prompt: Demonstration,
    batch_size: int,
    journal: Journal | None,
    key: str,
    reporter: Reporter,
    *,
    bootstrap: int,
    seed: int,
    items: EffectItems | None = None,
    score: Score | None = None,
) -> SideEffects:
    """Answer and read everything with and without steering, and say what changed.

    Facts, refusals and the answers to neutral prompts are greedy, so that what flips is the model's and not the dice's;
    conversations are drawn as ``sampling`` says, an unsteered answer and its steered one with the same seed.

    Args:
        model: the target.
        steering: what steers every steered row.
        sampling: the target's own; how long answers are is the items'.
        prompt: the target's own, before every question.
        batch_size: rows.
        journal: of its own, for this and no other work; a killed run goes on from it. ``None`` keeps nothing.
        key: tells the vector, its layers and strength from others.
        reporter: where to tell.
        bootstrap: resamplings for the intervals.
        seed: of the resamplings.
        items: what to ask; ``effect_items()`` by default, ``effect_items(quick=True)`` for a short look.
        score: gives conversations a trait score turn by turn.

    Raises:
        ContextLengthError: a conversation or a text does not fit the model's context.
        RecordError: the journal holds something else.
        StorageError: the journal cannot be written.
        LayerError, VectorError, SteeringInactiveError: as `lm.steering.steering`.
    """
    items = items or effect_items()
    bench = Bench(model, steering, batch_size, journal, key, reporter)
    greedy = sampling.model_copy(update={"temperature": 0.0})
    requests = [*items.harmful, *items.harmless]
    refusals = _before_and_after(bench, requests, prompt, greedy, items.refusal_tokens, "requests")
    questions = [f"{fact.question} {BRIEFLY}" for fact in items.facts]
    answers = _before_and_after(bench, questions, prompt, greedy, items.fact_tokens, "facts")
    marked = [
        Marked(request, before.text, after.text, is_refusal(before.text), is_refusal(after.text))
        for request, (before, after) in zip(requests, refusals, strict=True)
    ]
    return judge_side_effects(
        texts=_read_texts(bench, items.texts),
        prompts=_read_prompts(bench, items, prompt, greedy, reporter),
        harmful=marked[: len(items.harmful)],
        harmless=marked[len(items.harmful) :],
        facts=[
            Marked(fact.question, b.text, a.text, is_right(b.text, fact.answers), is_right(a.text, fact.answers))
            for fact, (b, a) in zip(items.facts, answers, strict=True)
        ],
        turns=_converse(bench, items, prompt, sampling, score),
        bootstrap=bootstrap,
        seed=seed,
    )


def _before_and_after(
    bench: Bench, questions: Sequence[str], prompt: Demonstration, sampling: Sampling, max_tokens: int, title: str
) -> list[tuple[EffectReply, EffectReply]]:
    """The unsteered and the steered answer to every question, written in the same batches."""
    asks = [Ask(_messages(prompt, question), question, steered) for question in questions for steered in (False, True)]
    found = bench.replies(asks, sampling.model_copy(update={"max_tokens": max_tokens}), title)
    return list(zip(found[::2], found[1::2], strict=True))


def _read_texts(bench: Bench, texts: Sequence[str]) -> dict[str, EffectReading]:
    """Plain prose, with no chat around it; every token but the first is predicted."""
    passages = [Passage(tuple(bench.model.tokenizer(text)["input_ids"]), 0) for text in texts]
    return dict(zip(texts, bench.readings(passages, "neutral texts"), strict=True))


def _read_prompts(
    bench: Bench, items: EffectItems, prompt: Demonstration, greedy: Sampling, reporter: Reporter
) -> dict[str, EffectReading]:
    """Every prompt's end and the unsteered model's own answer to it."""
    asks = [Ask(_messages(prompt, question), question, steered=False) for question in items.prompts]
    sampling = greedy.model_copy(update={"max_tokens": items.continuation_tokens})
    continuations = bench.replies(asks, sampling, "neutral prompts")
    passages, bare = [], 0
    for ask, continuation in zip(asks, continuations, strict=True):
        try:
            encoded = encode_answer(bench.model.tokenizer, ask.messages, continuation.text)
            passages.append(Passage(encoded.ids, encoded.response_start - 1))
        except ModelError:  # a template that does not show the answer as it is
            ids = encode_prompt(bench.model.tokenizer, ask.messages)
            passages.append(Passage(tuple(ids), len(ids) - 1))
            bare += 1
    if bare:
        reporter.note(f"{bare} of {len(asks)} neutral prompts are compared at their end alone: see the chat template")
    return dict(zip(items.prompts, bench.readings(passages, "neutral prompts"), strict=True))


def _converse(
    bench: Bench, items: EffectItems, prompt: Demonstration, sampling: Sampling, score: Score | None
) -> list[TurnAnswer]:
    """Every conversation twice, unsteered and steered; each answer has its own side's earlier answers before it."""
    sampling = sampling.model_copy(update={"max_tokens": items.turn_tokens})
    history = {
        (number, steered): _messages(prompt, conversation[0])[:-1]
        for number, conversation in enumerate(items.conversations)
        for steered in (False, True)
    }
    answers: list[TurnAnswer] = []
    for turn in range(max(map(len, items.conversations), default=0)):
        going = [side for side in history if turn < len(items.conversations[side[0]])]
        asked = [items.conversations[number][turn] for number, _ in going]
        asks = [
            Ask((*history[side], {"role": "user", "content": question}), question, steered=side[1], scored=True)
            for side, question in zip(going, asked, strict=True)
        ]
        for side, ask, reply in zip(going, asks, bench.replies(asks, sampling, f"turn {turn + 1}"), strict=True):
            history[side] = (*ask.messages, {"role": "assistant", "content": reply.text})
            answers.append(
                TurnAnswer(
                    conversation=side[0] + 1,
                    turn=turn + 1,
                    steered=side[1],
                    question=ask.question,
                    text=reply.text,
                    measures=_measures(reply, score),
                )
            )
    return answers


def _measures(reply: EffectReply, score: Score | None) -> dict[str, float | None]:
    per_token = None if reply.nats is None or not reply.scored_tokens else reply.nats / reply.scored_tokens
    measures: dict[str, float | None] = {"nats": per_token, "distinct_2": distinct_n(reply.text, 2)}
    measures |= measure(reply.text)
    return measures | {"trait": score(reply.text)} if score else measures


def _messages(prompt: Demonstration, question: str) -> tuple[Message, ...]:
    return build_messages(prompt.system_prompt, prompt.examples, question)
