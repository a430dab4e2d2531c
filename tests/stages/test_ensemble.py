"""Several vectors at once: what each row is given, and that nothing is written twice."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_llama.chat import Journal, question_seed
from steer_llama.config import Sampling
from steer_llama.lm.generation import Generation, Row
from steer_llama.lm.generation import generate as write
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering.spec import interventions
from steer_llama.records import Response
from steer_llama.records.tuned import TunedTrial
from steer_llama.stages import ensemble as module
from steer_llama.stages.ensemble import Ensemble, Job, Part
from steer_llama.stages.journalled import journalled
from steer_llama.vectors import SteeringVector

SAMPLING = Sampling(temperature=0.7, max_tokens=5, seed=3)
NORMS = np.array([2.0, 3.0, 5.0], np.float32)


def vector(seed: int, width: int = 32) -> SteeringVector:
    directions_LD = np.random.default_rng(seed).standard_normal((3, width)).astype(np.float32)
    return SteeringVector(directions_LD, (0, 1, 2), NORMS, "tiny", "", "emoji", "mean_diff", "response")


PARTS = [Part("a", vector(0), 1), Part("b", vector(1), 1), Part("c", vector(2), 2)]


class Watched:
    """Passes rows on to the real `generate`, or says how many they are; stops after so many batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, real: bool, batches: int = 100) -> None:
        self.rows: list[Row] = []
        self._left = batches

        def generate(model: Any, rows: Sequence[Row], sampling: Any, batch_size: int) -> Iterator[Any]:
            self.rows += rows
            batches = (
                write(model, rows, sampling, batch_size)
                if real
                else [[(i, Generation(f"row {i}", 2, "stop"))] for i in range(len(rows))]
            )
            for batch in batches:
                if not self._left:
                    raise KeyboardInterrupt
                self._left -= 1
                yield batch

        monkeypatch.setattr(module, "generate", generate)


def run(
    model: LanguageModel, journal_path: Path, jobs: Sequence[Job], parts: Sequence[Part] = PARTS, batch_size: int = 4
) -> list[TunedTrial]:
    with Journal(journal_path) as journal:
        known = {trial.key: trial for trial in journalled(journal, TunedTrial)}
        ensemble = Ensemble(model, "Be kind.", SAMPLING, batch_size)
        return ensemble.run(parts, jobs, journal, known, lambda _: None)


def added(row: Row) -> dict[int, Any]:
    """What is added to a row, layer by layer."""
    found: dict[int, Any] = {}
    for part in interventions(row.steering):
        found[part.layer] = found.get(part.layer, 0) + part.vector_D.numpy()
    return found


def test_every_row_is_given_its_own_sum_at_the_right_layers(
    tiny_llama: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch, real=False)
    combinations = [{}, {"a": 0.2}, {"a": 0.2, "b": -0.1}, {"a": 0.2, "b": 0.0, "c": 0.3}, {"c": -0.4}]
    trials = run(tiny_llama, tmp_path / "j.jsonl", [Job(each, "dev", "Hello?") for each in combinations])
    a, b, c = (part.vector for part in PARTS)
    expected = [
        {},
        {1: a.scaled_D(1, 0.2)},
        {1: a.scaled_D(1, 0.2) + b.scaled_D(1, -0.1)},
        {1: a.scaled_D(1, 0.2), 2: c.scaled_D(2, 0.3)},
        {2: c.scaled_D(2, -0.4)},
    ]
    for row, wanted in zip(watched.rows, expected, strict=True):
        assert added(row).keys() == wanted.keys()
        for layer, vector_D in wanted.items():
            np.testing.assert_allclose(added(row)[layer], vector_D, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(added(watched.rows[4])[2]), 0.4 * 5.0, rtol=1e-6)
    assert [trial.strengths for trial in trials] == [
        {},
        {"a": 0.2},
        {"a": 0.2, "b": -0.1},
        {"a": 0.2, "c": 0.3},
        {"c": -0.4},
    ]
    assert [trial.arm for trial in trials] == ["unsteered"] + ["steered"] * 4


def test_all_combinations_share_their_luck(
    tiny_llama: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch, real=False)
    jobs = [Job(each, "dev", "Hello?", sample) for sample in (0, 1) for each in ({}, {"a": 0.2}, {"b": 0.1})]
    run(tiny_llama, tmp_path / "j.jsonl", jobs)
    assert [row.seed for row in watched.rows] == [question_seed(3, "Hello?")] * 3 + [question_seed(4, "Hello?")] * 3


def test_random_directions_have_the_norm_and_turn_round(
    tiny_llama: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch, real=False)
    parts = [Part("a", vector(0), 2, direction=7), Part("b", vector(1), 2, direction=8)]
    combinations = [{"a": 0.2}, {"a": -0.2}, {"b": 0.2}]
    trials = run(tiny_llama, tmp_path / "j.jsonl", [Job(each, "dev", "Hello?") for each in combinations], parts)
    up, down, other = (added(row)[2] for row in watched.rows)
    np.testing.assert_allclose(np.linalg.norm(up), 0.2 * 5.0, rtol=1e-5)
    np.testing.assert_allclose(up, -down, rtol=1e-6)
    assert abs(up @ other) < 0.9 * np.linalg.norm(up) * np.linalg.norm(other)
    assert not np.allclose(up, parts[0].vector.scaled_D(2, 0.2))
    assert {trial.arm for trial in trials} == {"random"}
    assert len({trial.key for trial in trials}) == 3


def test_the_same_is_written_once(tiny_llama: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, real=False)
    same = [Job({"a": 0.2}, "dev", "Hello?"), Job({"a": 0.2, "b": 0.0}, "dev", "Hello?"), Job({}, "dev", "Hello?")]
    trials = run(tiny_llama, tmp_path / "j.jsonl", same)
    assert len(watched.rows) == 2
    assert trials[0] == trials[1] != trials[2]
    # A null's unsteered answers are anybody's; another vector under the same name is another.
    run(tiny_llama, tmp_path / "j.jsonl", [Job({}, "dev", "Hello?")], [Part("a", vector(0), 1, direction=3)])
    assert len(watched.rows) == 2
    run(tiny_llama, tmp_path / "j.jsonl", same[:1], [Part("a", vector(5), 1)])
    run(tiny_llama, tmp_path / "j.jsonl", same[:1], [Part("a", vector(0), 2)])
    assert len(watched.rows) == 4


def test_what_was_interrupted_goes_on_to_the_same(
    tiny_llama: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    combinations: list[dict[str, float]] = [{}, {"a": 3.0}, {"a": 3.0, "b": 3.0}, {"b": -5.0}]
    jobs = [Job(each, "dev", question) for each in combinations for question in ("Hello?", "Why?", "Who are you?")]
    whole = run(tiny_llama, tmp_path / "whole.jsonl", jobs)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Watched(patch, real=True, batches=2)
        run(tiny_llama, tmp_path / "j.jsonl", jobs)
    watched = Watched(monkeypatch, real=True)
    assert run(tiny_llama, tmp_path / "j.jsonl", jobs) == whole
    assert len(watched.rows) == 12 - 2 * 4, "two batches of four were kept"
    by_question = {trial.question: trial.text for trial in whole[:3]}
    assert any(trial.text != by_question[trial.question] for trial in whole[6:9]), "steering does something"


def test_answers_are_measured_under_the_unsteered_model(tiny_llama: LanguageModel, tmp_path: Path) -> None:
    (steered,) = run(tiny_llama, tmp_path / "j.jsonl", [Job({"a": 0.5}, "dev", "Hello?")])
    told = Response(
        key="k",
        arm="pi",
        role="source",
        split="dev",
        question="Hello?",
        text=steered.text,
        finish_reason="stop",
        model="m",
    )
    whole = SAMPLING.model_copy(update={"max_tokens": 999})
    (as_source,) = Ensemble(tiny_llama, "Be kind.", whole, 4).of_source([told], {"Hello?": "dev"})
    assert as_source.nll == pytest.approx(steered.nll, rel=1e-5)
    assert as_source.tokens == steered.tokens > 0
    assert as_source.features == steered.features
    assert as_source.arm == "source"
