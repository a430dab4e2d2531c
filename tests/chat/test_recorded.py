import json
from pathlib import Path

import pytest

from steer_llama.chat import RecordedEndpoint, build_messages, read_responses
from steer_llama.config import ArmSettings
from steer_llama.errors import FileError, RecordError
from steer_llama.files import write_json, write_jsonl
from steer_llama.records import ChatReply, ChatRequest, Response, Turn, as_json


def request(question: str) -> ChatRequest:
    return ChatRequest(
        key=f"key of {question}",
        messages=build_messages("s", (Turn(user="Hi", assistant="Hello"),), question),
        temperature=0,
        top_p=1,
        repetition_penalty=1,
        max_tokens=1,
        seed=0,
    )


def response(question: str, arm: str = "pi", text: str = "yes") -> dict[str, object]:
    return as_json(
        Response(
            key="k", arm=arm, role="source", split="dev", question=question, text=text, finish_reason="stop", model="m"
        )
    )


def arm(path: Path, name: str = "pi") -> RecordedEndpoint:
    return RecordedEndpoint.from_settings(ArmSettings(name=name, kind="recorded", file=path))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.json"
    entry = {"llama_response": "A", "pi_response": "B", "score_difference": -50}
    write_json(path, {"Why?": entry, "How?": {**entry, "pi_response": "C"}})
    return path


@pytest.mark.parametrize("name", ["responses.jsonl", "responses.txt"])
def test_answers_from_responses(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_jsonl(path, [response("Why?"), response("Why?", "llama", "no"), response("How?")])
    (reply,) = arm(path, "llama").answer([request("Why?")])
    assert reply == ChatReply(key="key of Why?", text="no", finish_reason="stop", model="m")


def test_answers_from_results_and_filtered(results: Path) -> None:
    replies = list(arm(results).answer([request("How?"), request("Why?")]))
    assert [(reply.key, reply.text, reply.model) for reply in replies] == [
        ("key of How?", "C", "pi"),
        ("key of Why?", "B", "pi"),
    ]


def test_questions_without_an_answer_are_counted_and_named(results: Path) -> None:
    asked = [request("Why?"), *(request(f"{number}?") for number in range(5))]
    with pytest.raises(RecordError, match=r"no answer of 'pi' to 5 of 6 questions, first '0\?', '1\?', '2\?'\. "):
        arm(results).answer(asked)


def test_an_arm_that_the_file_does_not_have(results: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no key 'smol_response'; it has 'llama_response', 'pi_response'"):
        arm(results, "smol")
    responses = tmp_path / "responses.jsonl"
    write_jsonl(responses, [response("Why?"), response("Why?", "llama")])
    with pytest.raises(FileError, match="no answers of 'smol'; it holds those of llama, pi"):
        arm(responses, "smol")


def test_two_answers_to_one_question(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    write_jsonl(path, [response("Why?"), response("Why?")])
    assert len(list(arm(path).answer([request("Why?")]))) == 1
    write_jsonl(path, [response("Why?"), response("Why?", text="other")])
    with pytest.raises(RecordError, match=r"two different answers to 'Why\?'"):
        arm(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"Why?": {"pi_response": None}}, r"question 'Why\?': 'pi_response' is null"),
        ({"Why?": "x"}, r"question 'Why\?': expected an object"),
        ([1], "a JSON list"),
        ({"Why?": {"a": "b"}}, "no keys that end in '_response'"),
    ],
)
def test_files_of_another_shape(tmp_path: Path, content: object, says: str) -> None:
    path = tmp_path / "results.json"
    write_json(path, content)
    with pytest.raises(FileError, match=says):
        arm(path)


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    row = response("How?")
    del row["text"]
    path.write_text(f"{json.dumps(response('Why?'))}\n{json.dumps(row)}\n")
    with pytest.raises(RecordError, match="line 2: the key 'text' is missing"):
        read_responses(path)
