import json
from pathlib import Path

import pytest

from steer_llama.chat import Journal
from steer_llama.config import BudgetSettings, Config, RespondSettings
from steer_llama.elicitations import with_split
from steer_llama.errors import BudgetError, ConflictError, EndpointError, RecordError, StorageError
from steer_llama.files import write_json
from steer_llama.progress import SilentReporter
from steer_llama.records import Elicitation
from steer_llama.stages.respond import respond
from tests.chat.server import Answer, ChatServer, said, serve

QUESTIONS = tuple(f"Why {n}?" for n in range(6))
ASKED = with_split(Elicitation(questions=QUESTIONS))


def config(server: ChatServer, **source: object) -> Config:
    arm = {"kind": "openai", "base_url": server.base_url, "concurrency": 1, "max_retries": 0}
    target = {**arm, "name": "llama", "model": "llama-3"}
    return Config.model_validate({"source": {**arm, "name": "pi", "model": "pi-1", **source}, "target": target})


def asked_of(server: ChatServer) -> list[tuple[str, str]]:
    """Model and question of every call."""
    return [(body["model"], body["messages"][-1]["content"]) for body in server.bodies]


def fine(question: str, _: int) -> Answer:
    return Answer(body=said(f"About {question}"))


def test_every_question_to_both_arms(tmp_path: Path) -> None:
    out, reporter = tmp_path / "o.jsonl", SilentReporter()
    with serve(fine) as server:
        responses = respond(config(server), ASKED, out, reporter)
        assert sorted(asked_of(server)) == [(arm, question) for arm in ("llama-3", "pi-1") for question in QUESTIONS]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["question"], row["arm"], row["role"]) for row in rows] == [
        (question, *arm) for question in QUESTIONS for arm in (("pi", "source"), ("llama", "target"))
    ]
    assert ASKED.split is not None
    assert all(row["split"] == ASKED.split.of(row["question"]) for row in rows)
    assert rows[0]["text"] == "About Why 0?"
    assert [response.key for response in responses] == [row["key"] for row in rows]
    assert len({row["key"] for row in rows}) == 12
    assert reporter.notes == ["pi: 6 answers, 6 of them asked now", "llama: 6 answers, 6 of them asked now"]


def test_the_prompt_reaches_the_server(tmp_path: Path) -> None:
    examples = [{"user": "Hi", "assistant": "Hi 🎉"}]
    with serve(fine) as server:
        respond(config(server, system_prompt="Be fun.", examples=examples), ASKED, tmp_path / "o", SilentReporter())
        prompts = {body["model"]: body["messages"] for body in server.bodies if "0" in body["messages"][-1]["content"]}
        assert prompts["pi-1"] == [
            {"role": "system", "content": "Be fun."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hi 🎉"},
            {"role": "user", "content": "Why 0?"},
        ]
        assert prompts["llama-3"] == [{"role": "user", "content": "Why 0?"}], "the target has its own prompt"


def test_the_demonstration_reaches_the_server(tmp_path: Path) -> None:
    with serve(fine) as server:
        respond(config(server, demonstrate=True), ASKED, tmp_path / "o", SilentReporter())
        roles = {body["model"]: [message["role"] for message in body["messages"]] for body in server.bodies}
        assert roles["pi-1"] == ["system", "user", "assistant", "user", "assistant", "user", "assistant", "user"]
        assert roles["llama-3"] == ["user"]


def test_a_failing_server_keeps_what_it_answered(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    up = False

    def script(question: str, _: int) -> Answer:
        return fine(question, 0) if up or question in QUESTIONS[:4] else Answer(status=500, body={"error": "down"})

    with serve(script) as server:
        with pytest.raises(EndpointError, match=r"4 of 12 requests got no answer.*'Why [45]\?'.*HTTP 500"):
            respond(config(server), ASKED, out, SilentReporter())
        assert not out.exists()
        up = True
        server.bodies.clear()
        reporter = SilentReporter()
        respond(config(server), ASKED, out, reporter)
        assert sorted(asked_of(server)) == [(arm, q) for arm in ("llama-3", "pi-1") for q in ("Why 4?", "Why 5?")]
    assert reporter.notes[0] == "pi: 6 answers, 2 of them asked now"


@pytest.mark.parametrize(
    ("change", "asked_again"),
    [
        ({"system_prompt": "Be brief."}, 6),
        ({"sampling": {"seed": 9}}, 6),
        ({"sampling": {"max_tokens": 9}}, 6),
        ({"model": "pi-2"}, 6),
        ({"name": "him"}, 0),
        ({"concurrency": 4, "timeout": 9, "max_retries": 1}, 0),
    ],
)
def test_a_setting_that_flips_back_and_forth(tmp_path: Path, change: dict[str, object], asked_again: int) -> None:
    out = tmp_path / "o.jsonl"
    with serve(fine) as server:
        for settings, expected in (({}, 12), (change, asked_again), ({}, 0), (change, 0)):
            server.bodies.clear()
            respond(config(server, **settings), ASKED, out, SilentReporter())
            assert len(server.bodies) == expected
    assert len(out.read_text().splitlines()) == 12


def test_more_questions_ask_only_the_new_ones(tmp_path: Path) -> None:
    with serve(fine) as server:
        respond(config(server), ASKED, tmp_path / "o.jsonl", SilentReporter())
        more = with_split(Elicitation(questions=(*QUESTIONS, "And now?")))
        server.bodies.clear()
        respond(config(server), more, tmp_path / "o.jsonl", SilentReporter())
        assert [body["messages"][-1]["content"] for body in server.bodies] == ["And now?"] * 2


def test_a_recorded_file_that_changed(tmp_path: Path) -> None:
    file = tmp_path / "pi.json"
    recorded = {"kind": "recorded", "file": file}
    write_json(file, {question: {"pi_response": "old"} for question in QUESTIONS})
    with serve(fine) as server:
        respond(config(server, **recorded), ASKED, tmp_path / "o.jsonl", SilentReporter())
        write_json(file, {question: {"pi_response": "new"} for question in QUESTIONS})
        responses = respond(config(server, **recorded), ASKED, tmp_path / "o.jsonl", SilentReporter())
        assert len(server.bodies) == 6, "the target was asked again"
    assert {response.text for response in responses if response.role == "source"} == {"new"}


def test_counts_what_is_cut_and_empty(tmp_path: Path) -> None:
    def script(question: str, _: int) -> Answer:
        return Answer(body=said("" if question == QUESTIONS[0] else "text", "length"))

    reporter = SilentReporter()
    with serve(script) as server:
        respond(config(server), ASKED, tmp_path / "o.jsonl", reporter)
    assert reporter.notes[0] == "pi: 6 answers, 6 of them asked now, 6 cut at 256 tokens, 1 empty"


def test_a_place_that_cannot_be_written_asks_nothing(tmp_path: Path) -> None:
    with serve(fine) as server:
        with pytest.raises(StorageError, match="it is a folder"):
            respond(config(server), ASKED, tmp_path, SilentReporter())
        assert server.bodies == []


def test_a_journal_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "o.journal.jsonl").write_text('{"key": "1", "layer": 3}\n')
    with serve(fine) as server:
        with pytest.raises(RecordError, match=r"o\.journal\.jsonl, key '1'.*'text' is missing.*delete the file"):
            respond(config(server), ASKED, tmp_path / "o.jsonl", SilentReporter())
        assert server.bodies == []


def test_a_question_that_a_server_refuses(tmp_path: Path) -> None:
    """It has no answer, with the reason; the others have theirs, and only the refused one is asked again."""
    out, reporter = tmp_path / "o.jsonl", SilentReporter()

    def script(question: str, before: int) -> Answer:
        return Answer(400, {"error": {"message": "policy"}}) if question == "Why 3?" else fine(question, before)

    with serve(script) as server:
        responses = respond(config(server), ASKED, out, reporter)
        refused = [response for response in responses if response.question == "Why 3?"]
        assert [(r.text, r.finish_reason) for r in refused] == [("", "refused")] * 2
        assert all("HTTP 400: policy" in str(r.reason) for r in refused)
        assert all(r.reason is None and r.text for r in responses if r.question != "Why 3?")
        assert "1 without an answer" in reporter.notes[0]
        server.bodies.clear()
        assert respond(config(server), ASKED, out, reporter) == responses
        assert sorted(asked_of(server)) == [("llama-3", "Why 3?"), ("pi-1", "Why 3?")]


def test_thoughts_are_no_part_of_the_answer(tmp_path: Path) -> None:
    with serve(lambda question, before: Answer(body=said("<think>Well.</think>\n\nYes."))) as server:
        (first, *_) = respond(config(server), ASKED, tmp_path / "o.jsonl", SilentReporter())
    assert (first.text, first.reasoning) == ("Yes.", "Well.")


def test_a_budget_holds_over_several_runs(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    with serve(fine) as server:
        for limit, calls in ((5, 5), (5, 5), (8, 8), (12, 12), (12, 12)):
            limited = config(server).model_copy(update={"budget": BudgetSettings(max_calls=limit)})
            if limit < 12:
                with pytest.raises(BudgetError, match=rf"budget.max_calls is {limit}.* run the same command again"):
                    respond(limited, ASKED, out, SilentReporter())
            else:
                assert len(respond(limited, ASKED, out, SilentReporter())) == 12
            assert len(server.bodies) == calls


def test_a_budget_is_shared_with_the_other_journals(tmp_path: Path) -> None:
    with serve(fine) as server:
        respond(config(server), ASKED, tmp_path / "first.jsonl", SilentReporter())
        limited = config(server).model_copy(update={"budget": BudgetSettings(max_calls=15)})
        others = tmp_path.glob("*.journal.jsonl")
        with pytest.raises(BudgetError, match="15 calls"):
            respond(limited, ASKED, tmp_path / "second.jsonl", SilentReporter(), others)
        assert len(server.bodies) == 15


def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    with serve(fine) as server, Journal(tmp_path / "o.journal.jsonl"):
        with pytest.raises(ConflictError, match="another steer-llama is writing"):
            respond(config(server), ASKED, tmp_path / "o.jsonl", SilentReporter())
        assert server.bodies == []


def test_both_arms_are_asked_at_the_same_time(tmp_path: Path) -> None:
    with serve(lambda question, before: Answer(body=said(question), seconds=0.1)) as server:
        respond(config(server), ASKED, tmp_path / "o.jsonl", SilentReporter())
        assert server.most_under_way == 2


def test_a_question_that_always_fails_can_be_done_without(tmp_path: Path) -> None:
    """One poisonous question must not keep all the others from being used, if the user says so."""
    out, reporter = tmp_path / "o.jsonl", SilentReporter()

    def script(question: str, before: int) -> Answer:
        return Answer(500, {"error": {"message": "crash"}}) if question == "Why 3?" else fine(question, before)

    with serve(script) as server:
        patient = config(server)
        for spare in (0, 1):
            given_up = patient.model_copy(update={"respond": RespondSettings(max_failed=spare)})
            with pytest.raises(EndpointError, match=r"2 of 12 requests got no answer.*respond\.max_failed"):
                respond(given_up, ASKED, out, reporter)
            assert not out.exists()
        responses = respond(patient.model_copy(update={"respond": RespondSettings(max_failed=2)}), ASKED, out, reporter)
    failed = [response for response in responses if response.question == "Why 3?"]
    assert [(r.text, r.finish_reason) for r in failed] == [("", "failed")] * 2
    assert all("HTTP 500: crash" in str(r.reason) for r in failed)


def test_only_refused_questions_are_left(tmp_path: Path) -> None:
    """Killed before its file was written, it asks the refused ones again, and does not take the server for broken."""
    out = tmp_path / "o.jsonl"
    odd = {"Why 1?", "Why 3?", "Why 5?"}

    def script(question: str, before: int) -> Answer:
        return Answer(400, {"error": {"message": "policy"}}) if question in odd else fine(question, before)

    with serve(script) as server:
        first = respond(config(server), ASKED, out, SilentReporter())
        out.unlink()
        assert respond(config(server), ASKED, out, SilentReporter()) == first


def test_arms_that_are_one_model_with_one_prompt_are_asked_once(tmp_path: Path) -> None:
    counter = iter(range(100))
    with serve(lambda question, before: Answer(body=said(f"Answer {next(counter)}"))) as server:
        one = config(server, model="llama-3")
        first = respond(one, ASKED, tmp_path / "o.jsonl", SilentReporter())
        assert len(server.bodies) == len(QUESTIONS)
        assert respond(one, ASKED, tmp_path / "o.jsonl", SilentReporter()) == first
