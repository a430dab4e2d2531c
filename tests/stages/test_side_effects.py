"""Side effects of a tiny random model, whose every figure can be foreseen, and of the embedded one."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from steer_llama.chat import Journal
from steer_llama.config import Sampling
from steer_llama.errors import ContextLengthError, RecordError, VectorError
from steer_llama.lm.divergence import divergences
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering
from steer_llama.progress import SilentReporter
from steer_llama.records import Demonstration, EffectItems, Fact, SideEffects
from steer_llama.stages import effect_bench
from steer_llama.stages.effect_items import effect_items
from steer_llama.stages.side_effects import side_effects

ITEMS = EffectItems(
    texts=("the quick brown fox jumps.", "hello world"),
    prompts=("fox?", "quick brown?"),
    facts=(Fact(question="world?", answers=("fox",)), Fact(question="brown?", answers=("no such word",))),
    harmful=("done?",),
    harmless=("party?",),
    conversations=(("hello", "the fox"), ("quick", "brown", "done")),
    continuation_tokens=5,
    fact_tokens=4,
    refusal_tokens=4,
    turn_tokens=6,
)
SAMPLING = Sampling(temperature=0.7, max_tokens=99)
ANSWERS = 2 * 2 + 2 * 2 + 2 + 2 * (2 + 2 + 1)
"""Facts and requests on both sides, neutral prompts on one, conversations on both."""
READINGS = 2 + 2


def vector(size: float, seed: int = 0) -> Steering:
    return Steering(1, size * torch.randn(32, generator=torch.Generator().manual_seed(seed)))


def measured(model: LanguageModel, *steering: Steering, journal: Journal | None = None, **more: Any) -> SideEffects:
    values: dict[str, Any] = {
        "sampling": SAMPLING,
        "prompt": Demonstration(),
        "batch_size": 4,
        "key": "k",
        "reporter": SilentReporter(),
        "bootstrap": 100,
        "seed": 0,
        "items": ITEMS,
    }
    return side_effects(model, steering, journal=journal, **{**values, **more})


class Counting:
    """Counts the answers and the readings that are really done; stops after ``limit`` batches of answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int | None = None) -> None:
        self.rows: list[Row] = []
        self.passages = 0
        self._limit = limit
        self._divergences = divergences
        monkeypatch.setattr(effect_bench, "generate", self._generate)
        monkeypatch.setattr(effect_bench, "divergences", self._read)

    def _generate(self, model: LanguageModel, rows: Sequence[Row], sampling: Sampling, size: int) -> Iterator[Any]:
        for batch in generate(model, rows, sampling, size):
            if self._limit is not None and len(self.rows) >= self._limit:
                raise KeyboardInterrupt
            self.rows += [rows[index] for index, _ in batch]
            yield batch

    def _read(self, model: LanguageModel, passages: Any, *rest: Any) -> Iterator[Any]:
        for batch in self._divergences(model, passages, *rest):
            self.passages += len(batch)
            yield batch


@pytest.mark.parametrize("steering", [(), (Steering(1, torch.zeros(32)),)], ids=["nothing", "zero"])
def test_no_steering_has_no_side_effects(tiny_llama: LanguageModel, steering: tuple[Steering, ...]) -> None:
    found = measured(tiny_llama, *steering, score=lambda text: float(len(text)))
    assert found.prompts.kl.high == pytest.approx(0, abs=1e-6)
    assert found.texts.ratio.low == pytest.approx(1, abs=1e-4)
    assert found.texts.ratio.high == pytest.approx(1, abs=1e-4)
    assert found.harmful.flips == found.harmless.flips == found.facts.flips == ()
    answers = {(answer.conversation, answer.turn, answer.steered): answer.text for answer in found.drift.answers}
    assert len(answers) == 10
    assert all(text == answers[conversation, turn, False] for (conversation, turn, _), text in answers.items())
    assert all(abs(slope.difference.mean) < 1e-4 for slope in found.drift.slopes if slope.difference.n)
    assert found.warnings == ()


def test_a_large_vector_has_large_ones(tiny_llama: LanguageModel) -> None:
    small, large = measured(tiny_llama, vector(0.1)), measured(tiny_llama, vector(30.0))
    assert 0 < small.prompts.kl.mean < 0.3
    assert large.prompts.kl.mean > 1
    said = [{a.text for a in large.drift.answers if a.question == question} for question in ("hello", "quick")]
    assert all(len(texts) == 2 for texts in said)


def test_what_is_counted(tiny_llama: LanguageModel) -> None:
    found = measured(tiny_llama, vector(1.0), score=lambda _: 7.0)
    assert (found.facts.items, found.harmful.items, found.harmless.items) == (2, 1, 1)
    assert found.texts.texts == found.prompts.prompts == 2
    # Plain text, of which every token but the first is predicted.
    assert found.texts.tokens == sum(len(tiny_llama.tokenizer(text)["input_ids"]) - 1 for text in ITEMS.texts)
    assert found.prompts.positions > 2, "the prompts' ends and what follows"
    assert found.drift.conversations == 2
    assert [turn.turn for turn in found.drift.turns] == [1, 2, 3]
    assert {"nats", "distinct_2", "words", "emoji", "trait"} <= {slope.measure for slope in found.drift.slopes}
    assert found.drift.turns[2].steered["trait"] == 7.0
    assert "trait" not in measured(tiny_llama, vector(1.0)).drift.turns[0].steered
    assert len(found.sentences) == 6


def test_right_answers_and_refusals_are_told_apart(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer is replaced by what its side is to say."""

    def say(model: LanguageModel, rows: Sequence[Row], sampling: Sampling, size: int) -> Iterator[Any]:
        for batch in generate(model, rows, sampling, size):
            yield [
                (index, type(answer)("I can’t help with that." if rows[index].steering else "A fox!", 5, "stop"))
                for index, answer in batch
            ]

    monkeypatch.setattr(effect_bench, "generate", say)
    found = measured(tiny_llama, vector(1.0))
    assert (found.facts.before, found.facts.after) == (1, 0)
    (flip,) = found.facts.flips
    assert (flip.now, flip.before, flip.after) == (False, "A fox!", "I can’t help with that.")
    assert flip.item == "world?"
    for refusals in (found.harmful, found.harmless):
        assert (refusals.before, refusals.after) == (0, 1)
        assert refusals.flips[0].now


def test_each_side_has_its_own_history_and_the_prompt(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    prompt = Demonstration(system_prompt="the party")
    found = measured(tiny_llama, vector(5.0), prompt=prompt)
    decode = tiny_llama.tokenizer.decode
    shown = [(decode(row.prompt_ids), row.steering is not None) for row in counting.rows]
    assert all("the party" in text for text, _ in shown)
    said = {(a.steered, a.turn): a.text for a in found.drift.answers if a.conversation == 2}
    assert all(said[True, turn] != said[False, turn] for turn in (1, 2))
    questions = ITEMS.conversations[1]
    for steered in (False, True):
        for turn in (1, 2, 3):
            earlier = [
                f"user\n{question}<|im_end|>\n<|im_start|>assistant\n{said[steered, place]}<|im_end|>\n<|im_start|>"
                for place, question in enumerate(questions[: turn - 1], 1)
            ]
            end = "".join([*earlier, f"user\n{questions[turn - 1]}<|im_end|>\n<|im_start|>assistant\n"])
            assert sum(text.endswith(end) and side == steered for text, side in shown) == 1


def test_greedy_where_the_dice_would_flip_answers(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float]] = []

    def note(model: LanguageModel, rows: Sequence[Row], sampling: Sampling, size: int) -> Iterator[Any]:
        asked.append((sampling.max_tokens, sampling.temperature))
        yield from generate(model, rows, sampling, size)

    monkeypatch.setattr(effect_bench, "generate", note)
    measured(tiny_llama)
    assert sorted(set(asked)) == [(4, 0.0), (5, 0.0), (6, 0.7)]


def test_unsteered_and_steered_rows_share_batches(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[list[bool]] = []

    def note(model: LanguageModel, rows: Sequence[Row], sampling: Sampling, size: int) -> Iterator[Any]:
        for batch in generate(model, rows, sampling, size):
            batches.append([rows[index].steering is not None for index, _ in batch])
            yield batch

    monkeypatch.setattr(effect_bench, "generate", note)
    measured(tiny_llama, vector(1.0))
    mixed = [batch for batch in batches if any(batch)]
    assert mixed
    assert all(sum(batch) == len(batch) / 2 for batch in mixed)


def test_a_killed_run_goes_on_and_repeats_nothing(
    tiny_llama: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measured(tiny_llama, vector(1.0))
    path = tmp_path / "effects.journal.jsonl"
    killed = Counting(monkeypatch, limit=9)
    with Journal(path) as journal, pytest.raises(KeyboardInterrupt):
        measured(tiny_llama, vector(1.0), journal=journal)
    assert 0 < len(killed.rows) < ANSWERS
    again = Counting(monkeypatch)
    with Journal(path) as journal:
        resumed = measured(tiny_llama, vector(1.0), journal=journal)
    assert len(killed.rows) + len(again.rows) == ANSWERS
    assert killed.passages + again.passages == READINGS
    idle = Counting(monkeypatch)
    with Journal(path) as journal:
        third = measured(tiny_llama, vector(1.0), journal=journal)
    assert (idle.rows, idle.passages) == ([], 0)
    assert third == resumed
    assert third.facts == whole.facts
    assert [answer.text for answer in third.drift.answers] == [answer.text for answer in whole.drift.answers]
    assert third.texts.ratio.mean == pytest.approx(whole.texts.ratio.mean, rel=1e-4)


@pytest.mark.parametrize("change", ["vector", "layer", "key", "sampling", "prompt"])
def test_other_work_is_not_taken_for_this(
    tiny_llama: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with Journal(tmp_path / "effects.journal.jsonl") as journal:
        measured(tiny_llama, vector(1.0), journal=journal)
        counting = Counting(monkeypatch)
        other = {
            "vector": ([vector(1.0, seed=1)], {}),
            "layer": ([Steering(2, vector(1.0).vector_D)], {}),
            "key": ([vector(1.0)], {"key": "another"}),
            "sampling": ([vector(1.0)], {"sampling": SAMPLING.model_copy(update={"repetition_penalty": 1.2})}),
            "prompt": ([vector(1.0)], {"prompt": Demonstration(system_prompt="fox")}),
        }[change]
        measured(tiny_llama, *other[0], journal=journal, **other[1])  # type: ignore[arg-type]
    if change in ("sampling", "prompt"):
        assert len(counting.rows) == ANSWERS
    else:  # the unsteered answers serve every vector
        assert len(counting.rows) == (ANSWERS - 2) / 2
        assert all(row.steering is not None for row in counting.rows)
        assert counting.passages == READINGS


def test_a_journal_of_something_else(tiny_llama: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "sweep.journal.jsonl"
    path.write_text(json.dumps({"key": "x", "text": "a trial"}) + "\n")
    with Journal(path) as journal, pytest.raises(RecordError, match=r"sweep\.journal\.jsonl"):
        measured(tiny_llama, journal=journal)


def test_what_does_not_fit(tiny_llama: LanguageModel) -> None:
    with pytest.raises(VectorError, match="32 wide"):
        measured(tiny_llama, Steering(1, torch.ones(31)))
    long = ITEMS.model_copy(update={"texts": ("x " * 400,)})
    with pytest.raises(ContextLengthError):
        measured(tiny_llama, items=long)


@pytest.mark.slow
def test_the_embedded_model_knows_something_and_loses_it(smollm2: LanguageModel) -> None:
    quick = effect_items(quick=True)
    items = quick.model_copy(
        update={"texts": quick.texts[:3], "prompts": quick.prompts[:3], "facts": quick.facts[:8], "conversations": ()}
    ).model_copy(update={"harmful": (), "harmless": (), "fact_tokens": 12, "continuation_tokens": 6})
    added_D = 200 * torch.nn.functional.normalize(torch.randn(576, generator=torch.Generator().manual_seed(1)), dim=0)
    sampling = Sampling(temperature=0.7, repetition_penalty=1.2)
    found = measured(smollm2, Steering(15, added_D), items=items, sampling=sampling, batch_size=16)
    assert found.facts.before >= 3
    assert found.facts.after < found.facts.before
    assert 10 < (found.texts.unsteered or 0) < 60
    assert found.texts.ratio.low > 1.25
    assert found.prompts.kl.low > 0.25
    assert {sentence.effect for sentence in found.sentences if sentence.warning} >= {"texts", "prompts"}
